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

/// The line, broken between words; a word that is longer than a line is left whole, so that it can be copied.
pub(super) fn wrapped(line: &str, width: usize, indent: usize) -> Vec<String> {
    let indent = " ".repeat(indent);
    let options = textwrap::Options::new(width)
        .break_words(false)
        .subsequent_indent(&indent);
    let lines = textwrap::wrap(line, options);
    lines.into_iter().map(std::borrow::Cow::into_owned).collect()
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
    }
}
