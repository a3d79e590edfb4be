//! What commands print: results on standard output, everything else on standard error.
//!
//! A reader that went away (`| head`) is no reason to fail.

use std::error::Error;
use std::fmt::Display;
use std::io::Write as _;

/// A line of the result.
pub(super) fn say(line: impl Display) {
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

/// A line for the person that watches.
pub(super) fn note(line: impl Display) {
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}

/// The result as one JSON document.
pub(super) fn json(value: &serde_json::Value) {
    say(format_args!("{value:#}"));
}

/// An error with what caused it, each once.
pub(super) fn complain(error: &dyn Error) {
    note(format_args!("error: {}", crate::text::chain(error)));
}
