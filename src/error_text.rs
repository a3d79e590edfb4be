//! Errors and panics as text for people.

use std::any::Any;
use std::error::Error;

/// An error and its causes on one line. A cause whose text the error already contains is left out.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let cause_text = inner.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        cause = inner.source();
    }
    text
}

/// The message of a panic, on one line.
pub(crate) fn panic(panic: &(dyn Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    one_line(message.unwrap_or("no message"))
}

/// A text without line breaks and other control characters.
pub(crate) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text
        .split(char::is_control)
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_a_panic_is_on_one_line() {
        let said = |panic: Box<dyn Any + Send>| super::panic(panic.as_ref());
        assert_eq!(said(Box::new("left:\n  1\x1b[31m")), "left: 1 [31m");
        assert_eq!(said(Box::new("a text".to_owned())), "a text");
        assert_eq!(said(Box::new(7)), "no message");
    }
}
