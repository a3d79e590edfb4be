//! Texts in the columns of a terminal.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The text, cut to this width.
pub(super) fn cut(text: &str, width: usize) -> std::borrow::Cow<'_, str> {
    if text.width() <= width {
        return text.into();
    }
    let mut kept = 0;
    let end = text
        .char_indices()
        .find(|(_, c)| {
            kept += c.width().unwrap_or(0);
            kept >= width
        })
        .map_or(text.len(), |(at, _)| at);
    format!("{}…", &text[..end]).into()
}

/// Breaks the line between words. A word is never split, so that it can be copied. If the first line would hold nothing but a label that is
/// shorter than the indent, and the next word is longer than a line, that word is put behind its label.
pub(super) fn wrapped(line: &str, width: usize, indent: usize) -> Vec<String> {
    let margin = " ".repeat(indent);
    let options = textwrap::Options::new(width)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .subsequent_indent(&margin);
    let lines = textwrap::wrap(line, options).into_iter();
    let mut lines: Vec<String> = lines.map(std::borrow::Cow::into_owned).collect();
    if lines.len() > 1 && lines[0].width() < indent && lines[1].width() > width {
        let label = format!("{:indent$}", lines.remove(0));
        lines[0] = label + lines[0].trim_start();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 6), "日本語");
    }

    #[test]
    fn prose_is_broken_between_words_and_what_is_copied_stays_whole() {
        assert_eq!(wrapped("  one two three", 9, 4), ["  one two", "    three"]);
        assert_eq!(
            wrapped("see https://example.com/a/b", 10, 2),
            ["see", "  https://example.com/a/b"]
        );
        assert_eq!(wrapped("to a-long-name", 12, 2), ["to", "  a-long-name"]);
        assert_eq!(
            wrapped("uri   https://example.com/a/b and", 12, 6),
            ["uri   https://example.com/a/b", "      and"]
        );
    }
}
