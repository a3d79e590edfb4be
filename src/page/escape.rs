//! How every text gets into a page: as text.
//!
//! Guarantee: what is written through [`Shown`] is no markup, in an element and in a quoted attribute, and contains no character that a
//! reader cannot see or that shows others in another order: those are written as `\u{202e}`. Line breaks and tabs stay, because logs
//! and bodies have them; they begin no new element.

use std::fmt;

use crate::terminal::deceives;

/// The escaper of all templates (`askama.toml`).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shown;

impl askama::filters::Escaper for Shown {
    fn write_escaped_str<W: fmt::Write>(&self, mut to: W, text: &str) -> fmt::Result {
        let mut plain = 0;
        for (at, c) in text.char_indices() {
            let Some(written) = escaped(c) else { continue };
            to.write_str(&text[plain..at])?;
            plain = at + c.len_utf8();
            match written {
                Written::Entity(entity) => to.write_str(entity)?,
                Written::Code => write!(to, "{}", c.escape_unicode())?,
            }
        }
        to.write_str(&text[plain..])
    }

    fn write_escaped_char<W: fmt::Write>(&self, mut to: W, c: char) -> fmt::Result {
        self.write_escaped_str(&mut to, c.encode_utf8(&mut [0; 4]))
    }
}

enum Written {
    Entity(&'static str),
    /// As a code point: `\u{1b}`.
    Code,
}

/// How a character is written that is not written as it is.
fn escaped(c: char) -> Option<Written> {
    match c {
        '&' => Some(Written::Entity("&amp;")),
        '<' => Some(Written::Entity("&lt;")),
        '>' => Some(Written::Entity("&gt;")),
        '"' => Some(Written::Entity("&quot;")),
        '\'' => Some(Written::Entity("&#39;")),
        '\n' | '\t' => None,
        c if deceives(c) => Some(Written::Code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use askama::filters::Escaper as _;
    use proptest::prelude::*;

    fn shown(text: &str) -> String {
        let mut out = String::new();
        Shown.write_escaped_str(&mut out, text).unwrap();
        out
    }

    #[test]
    fn markup_control_and_direction_are_text() {
        assert_eq!(
            shown("<script>alert(\"1\")</script>&'\u{1b}[31m\u{202e}ab\r\n\u{0}ü"),
            "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;\\u{1b}[31m\\u{202e}ab\\u{d}\n\\u{0}ü"
        );
    }

    proptest! {
        #[test]
        fn no_text_is_markup(text in any::<String>()) {
            let out = shown(&text);
            prop_assert!(!out.contains(['<', '>', '"', '\'']));
            prop_assert!(out.chars().all(|c| matches!(c, '\n' | '\t') || !deceives(c)));
        }
    }
}
