//! Prints what commands say: results on standard output, everything else on standard error. No other code of this program writes
//! there, and everything that is written is escaped, so that it cannot act on a terminal ([`crate::terminal`]).
//!
//! It is no failure if the reader has gone (`| head`). Any other failure to write the result (a full disk) is remembered, and
//! [`finish`] turns it into an exit code.
#![allow(clippy::disallowed_methods, reason = "this is the one place")]

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

use super::failure::Failure;
use crate::terminal::{Json, Line, Page};

/// Why the result could not be written, if that failed.
static FAILED: OnceLock<io::Error> = OnceLock::new();

/// Remembers that writing the result failed; what failed first counts.
fn written(result: io::Result<()>) {
    if let Err(error) = result {
        drop(FAILED.set(error));
    }
}

/// Whether nobody reads the result any more: then a command that goes on for ever ends.
pub(super) fn is_unread() -> bool {
    FAILED.get().is_some()
}

/// Writes what is still in memory. If the result could not be written for another reason than that its reader has gone, the exit code
/// is 1 and a message says so.
pub(super) fn finish(code: ExitCode) -> ExitCode {
    written(io::stdout().lock().flush());
    match FAILED.get() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            note(format_args!(
                "error: the result could not be written to standard output: {error}"
            ));
            ExitCode::FAILURE
        }
        _ => code,
    }
}

/// How many columns the terminal has that standard output is; `None` if it is none.
pub(super) fn width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Whether colours may be used: on a terminal that is able to show them, unless `NO_COLOR` (<https://no-color.org>) is set.
pub(super) fn colours() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    io::stdout().is_terminal() && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}

/// Lines of the result whose foreign text is escaped already, and which may contain our own colours.
pub(super) fn styled(lines: &[String]) {
    let mut stdout = io::stdout().lock();
    for line in lines {
        written(writeln!(stdout, "{line}"));
    }
}

/// A line of the result.
pub(super) fn say(line: impl Display) {
    written(writeln!(io::stdout().lock(), "{}", Line(line)));
}

/// Lines of the result; its newlines are our own.
pub(super) fn page(text: impl Display) {
    written(writeln!(io::stdout().lock(), "{}", Page(text)));
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

/// Whether somebody sees the questions.
pub(super) fn asks_are_seen() -> bool {
    io::stderr().is_terminal()
}

/// A question whether to go on; the answer follows on its last line.
pub(super) fn ask(question: impl Display) {
    note(question);
    prompt("Continue? (yes/no) ");
}

/// The beginning of a line that the person at the terminal ends.
pub(super) fn prompt(text: impl Display) {
    let mut stderr = io::stderr().lock();
    drop(write!(stderr, "{}", Line(text)));
    drop(stderr.flush());
}

/// The result as one JSON document.
pub(super) fn json(value: &serde_json::Value) {
    written(writeln!(io::stdout().lock(), "{:#}", Json(value)));
}

/// A JSON document in one line.
pub(super) fn json_line(value: &serde_json::Value) {
    written(writeln!(io::stdout().lock(), "{}", Json(value)));
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
