//! Escapes foreign text before a person reads it on a terminal.
//!
//! Guarantee: text that is written through [`Line`], [`Page`] or [`Json`] cannot move the terminal's cursor, begin a line of its own, or
//! show its letters in an order other than their own. Everything that commands print and that the log writes goes through one of the
//! three (`cli::output`, `telemetry::log`; a lint on `std::io::stdout` and `stderr` enforces it).

use std::fmt::{self, Display, Formatter, Write};

/// Shown as one line; a newline in it is written as `\n`.
pub(crate) struct Line<T>(pub(crate) T);
/// Shown with its line breaks; for text whose line breaks are our own.
pub(crate) struct Page<T>(pub(crate) T);
/// JSON: still the same value, with line breaks only between its parts.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Display> Display for Line<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            Escaping {
                to: f,
                form: Form::Line
            },
            "{}",
            self.0
        )
    }
}

impl<T: Display> Display for Page<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            Escaping {
                to: f,
                form: Form::Page
            },
            "{}",
            self.0
        )
    }
}

impl<T: Display> Display for Json<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // The pretty form of serde_json is the value's alternate one.
        let mut to = Escaping {
            to: f,
            form: Form::Json,
        };
        if to.to.alternate() {
            write!(to, "{:#}", self.0)
        } else {
            write!(to, "{}", self.0)
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Line,
    Page,
    Json,
}

struct Escaping<'a, W> {
    to: &'a mut W,
    form: Form,
}

impl<W: Write> Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut plain = 0;
        for (at, c) in text.char_indices() {
            if !deceives(c) || (c == '\n' && self.form != Form::Line) {
                continue;
            }
            self.to.write_str(&text[plain..at])?;
            plain = at + c.len_utf8();
            match self.form {
                Form::Json => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(self.to, "\\u{unit:04x}")?;
                    }
                }
                Form::Line | Form::Page => write!(self.to, "{}", c.escape_default())?,
            }
        }
        self.to.write_str(&text[plain..])
    }
}

/// Whether a terminal acts on a character instead of showing it, or shows others in another order or place for it: control
/// characters (C0, DEL, C1), marks of direction, separators of lines, interlinear annotation, invisible tags.
pub(crate) fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{206F}'
            | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deceives_is_escaped_and_the_rest_is_left_alone() {
        let hostile = "a\u{1b}[2J\r\n\t\u{9b}\u{202e}\u{2066}\u{61c}\u{200f}\u{2028}\u{e0041}\0\u{7f}ü\\z";
        assert_eq!(
            Line(hostile).to_string(),
            r"a\u{1b}[2J\r\n\t\u{9b}\u{202e}\u{2066}\u{61c}\u{200f}\u{2028}\u{e0041}\u{0}\u{7f}ü\z"
        );
        assert_eq!(Page("a\nb\r\u{1b}").to_string(), "a\nb\\r\\u{1b}");
        let value = serde_json::json!({ "k\u{202e}": hostile });
        for text in [format!("{}", Json(&value)), format!("{:#}", Json(&value))] {
            assert!(text.chars().all(|c| c == '\n' || !deceives(c)), "{text}");
            assert!(
                text.contains(r"\u009b\u202e") && text.contains(r"\udb40\udc41"),
                "{text}"
            );
            let back: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(back, value);
        }
        assert!(format!("{:#}", Json(&value)).contains('\n'));
    }
}
