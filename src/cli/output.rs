//! Prints what commands say: results on standard output, everything else on standard error. No other code of this program writes
//! there, and everything that is written is escaped, so that it cannot act on a terminal ([`crate::terminal`]).
//!
//! It is no failure if the reader has gone (`| head`).
#![allow(clippy::disallowed_methods, reason = "this is the one place")]

use std::fmt::Display;
use std::io::{self, Write};

use super::failure::Failure;
use crate::terminal::{Json, Line, Page};

/// A line of the result.
pub(super) fn say(line: impl Display) {
    drop(writeln!(io::stdout().lock(), "{}", Line(line)));
}

/// Lines of the result; its newlines are our own.
pub(super) fn page(text: impl Display) {
    drop(writeln!(io::stdout().lock(), "{}", Page(text)));
}

/// A line for the person at the terminal.
pub(super) fn note(line: impl Display) {
    drop(writeln!(io::stderr().lock(), "{}", Line(line)));
}

/// Lines for the person at the terminal; the newlines are our own.
pub(super) fn note_page(text: impl Display) {
    drop(write!(io::stderr().lock(), "{}", Page(text)));
}

/// Escapes the messages of panics: they may contain the text that caused them. `run` sends panics to the log instead.
pub(super) fn escape_panics() {
    std::panic::set_hook(Box::new(|panic| {
        note(format_args!("internal error, please report it: {panic}"));
        let backtrace = std::backtrace::Backtrace::capture();
        if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
            note_page(format_args!("{backtrace}\n"));
        }
    }));
}

/// A question to the person at the terminal; the answer follows on the same line.
pub(super) fn ask(question: impl Display) {
    let mut stderr = io::stderr().lock();
    drop(write!(stderr, "{}\nContinue? (yes/no) ", Line(question)));
    drop(stderr.flush());
}

/// The result as one JSON document.
pub(super) fn json(value: &serde_json::Value) {
    drop(writeln!(io::stdout().lock(), "{:#}", Json(value)));
}

/// A JSON document in one line.
pub(super) fn json_line(value: &serde_json::Value) {
    drop(writeln!(io::stdout().lock(), "{}", Json(value)));
}

/// An error and its causes.
pub(super) fn print_failure(failure: &Failure) {
    for (at, line) in failure.lines().into_iter().enumerate() {
        note(format_args!("{}{line}", if at == 0 { "error: " } else { "" }));
    }
}

/// Standard output for many lines, each of which is escaped.
pub(super) fn lines() -> Lines<io::Stdout> {
    Lines {
        to: io::stdout(),
        begun: Vec::new(),
    }
}

/// Escapes what is written, line by line.
#[derive(Debug)]
pub(super) struct Lines<W: Write> {
    to: W,
    /// The beginning of a line that has not ended.
    begun: Vec<u8>,
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun.extend_from_slice(bytes);
        if let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') {
            let rest = self.begun.split_off(end + 1);
            let whole = std::mem::replace(&mut self.begun, rest);
            write!(self.to, "{}", Page(String::from_utf8_lossy(&whole)))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.begun);
        write!(self.to, "{}", Page(String::from_utf8_lossy(&rest)))?;
        self.to.flush()
    }
}
