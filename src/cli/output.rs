//! Prints what commands say: results on standard output, everything else on standard error. No other code of this program writes
//! there, and everything that is written is escaped, so that it cannot act on a terminal ([`crate::terminal`]).
//!
//! Prose is broken between words where a terminal is narrower. A command whose result may be long says so ([`may_be_long`]); the result is
//! then held until the end, and shown by a pager if it is longer than the screen ([`super::pager`]).
//!
//! It is no failure if the reader has gone (`| head`). Any other failure to write the result (a full disk) is remembered, and
//! [`finish`] turns it into an exit code.
#![allow(clippy::disallowed_methods, reason = "this is the one place")]

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use super::failure::Failure;
use super::pager;
use super::width::{cut, wrapped};
use crate::terminal::{Json, Line, Page};

/// Why the result could not be written, if that failed.
static FAILED: OnceLock<io::Error> = OnceLock::new();

/// Remembers that writing the result failed; what failed first counts.
fn written(result: io::Result<()>) {
    if let Err(error) = result {
        drop(FAILED.set(error));
    }
}

/// So much of a result is held for a pager; a longer one is printed as it comes.
const MOST_HELD: usize = 16 << 20;

/// A result that is held until the end, and the notes that belong behind it.
#[derive(Debug, Default)]
struct Held {
    result: Vec<u8>,
    notes: Vec<String>,
}

static HELD: Mutex<Option<Held>> = Mutex::new(None);

fn held() -> MutexGuard<'static, Option<Held>> {
    // What was held before a panic is still whole.
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The result that follows may be longer than a screen.
pub(super) fn may_be_long() {
    if io::stdout().is_terminal() {
        held().get_or_insert_default();
    }
}

/// Prints what was held, by a pager if it is longer than the screen.
fn release() {
    let Some(held) = held().take() else { return };
    show_held(held);
}

/// Prints what was held, without a pager: something has failed, perhaps while it was being held.
fn release_plainly() {
    // Whoever panics may have it locked, and would wait for itself.
    let held = match HELD.try_lock() {
        Ok(mut held) => held.take(),
        Err(TryLockError::Poisoned(held)) => held.into_inner().take(),
        Err(TryLockError::WouldBlock) => None,
    };
    if let Some(Held { result, notes }) = held {
        written(io::stdout().lock().write_all(&result));
        notes.iter().for_each(note);
    }
}

fn show_held(Held { result, notes }: Held) {
    let screen = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_row));
    let lines = result.iter().filter(|byte| **byte == b'\n').count();
    let left = if lines >= screen && screen > 0 {
        pager::show(result).err()
    } else {
        Some(result)
    };
    if let Some(result) = left {
        written(io::stdout().lock().write_all(&result));
    }
    notes.iter().for_each(note);
}

/// Writes lines of the result, or holds them.
fn put(text: impl Display) {
    // Before the lock is taken: what is written here may panic, and a panic prints what is held.
    let text = text.to_string();
    let mut held = held();
    let Some(holding) = held.as_mut() else {
        drop(held);
        written(writeln!(io::stdout().lock(), "{text}"));
        return;
    };
    // Writing to memory cannot fail.
    drop(writeln!(holding.result, "{text}"));
    if holding.result.len() > MOST_HELD {
        let whole = std::mem::take(holding);
        *held = None;
        drop(held);
        written(io::stdout().lock().write_all(&whole.result));
        whole.notes.iter().for_each(note);
    }
}

/// Whether nobody reads the result any more: then a command that goes on for ever ends.
pub(super) fn is_unread() -> bool {
    FAILED.get().is_some()
}

/// Writes what is still in memory. If the result could not be written for another reason than that its reader has gone, the exit code
/// is 1 and a message says so.
pub(super) fn finish(code: ExitCode) -> ExitCode {
    release();
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
    columns(&io::stdout())
}

fn columns(stream: &(impl io::IsTerminal + std::os::fd::AsFd)) -> Option<usize> {
    if !stream.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Whether colours may be used: on a terminal that is able to show them, unless `NO_COLOR` (<https://no-color.org>) is set.
pub(super) fn colours() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    io::stdout().is_terminal() && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}

/// Lines of the result whose foreign text is escaped already, and which may contain our own colours.
pub(super) fn styled(lines: &[String]) {
    lines.iter().for_each(put);
}

/// A line of the result; on a terminal that is narrower it is broken between words.
pub(super) fn say(line: impl Display) {
    prose(line, INDENT);
}

/// The same, with this indent of what follows.
pub(super) fn prose(line: impl Display, indent: usize) {
    put(broken(line, indent));
}

/// The line as [`prose`] prints it, without the last newline.
pub(super) fn broken(line: impl Display, indent: usize) -> String {
    let line = Line(line).to_string();
    match width() {
        Some(width) => wrapped(&line, width, indent).join("\n"),
        None => line,
    }
}

/// A line of a result that goes on: on a terminal it is cut to its width.
pub(super) fn one_line(line: impl Display) {
    let line = Line(line).to_string();
    match width() {
        Some(width) => put(cut(&line, width)),
        None => put(line),
    }
}

/// A uuid in lines of a terminal: its beginning tells it from others there. Elsewhere, and any other text, it is whole.
pub(super) fn short(name: &str) -> std::borrow::Cow<'_, str> {
    match name.get(..8) {
        Some(start) if width().is_some() && uuid::Uuid::try_parse(name).is_ok() => format!("{start}…").into(),
        _ => name.into(),
    }
}

/// Lines of the result; its newlines are our own.
pub(super) fn page(text: impl Display) {
    put(Page(text));
}

/// A line for the person at the terminal; it stands behind a result that is held.
pub(super) fn note(line: impl Display) {
    let line = Line(line).to_string();
    if let Some(held) = held().as_mut() {
        held.notes.push(line);
        return;
    }
    noted(&line);
}

/// A line on standard error, broken between words on a terminal.
fn noted(line: &str) {
    let mut stderr = io::stderr().lock();
    match columns(&io::stderr()) {
        Some(width) => {
            for part in wrapped(line, width, INDENT) {
                drop(writeln!(stderr, "{part}"));
            }
        }
        None => drop(writeln!(stderr, "{line}")),
    }
}

/// How far what follows is indented where a line is broken.
const INDENT: usize = 4;

/// Lines for the person at the terminal; the newlines are our own.
pub(super) fn note_page(text: impl Display) {
    Page(text).to_string().lines().for_each(noted);
}

/// Escapes the messages of panics: they may contain the text that caused them. `run` sends panics to the log instead.
pub(super) fn escape_panics() {
    std::panic::set_hook(Box::new(|panic| {
        release_plainly();
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
    put(format_args!("{:#}", Json(value)));
}

/// A JSON document in one line.
pub(super) fn json_line(value: &serde_json::Value) {
    put(Json(value));
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
