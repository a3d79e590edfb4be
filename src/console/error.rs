//! What a client of the console is told if something does not work, with PostgreSQL's codes.

use pgwire::error::ErrorInfo;
use pgwire::messages::response::ErrorResponse;

use crate::terminal::Line;

/// The longest message, and the longest hint, in characters.
const LONGEST: usize = 800;

/// Why a command was not done, or a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConsoleError {
    code: &'static str,
    message: String,
    hint: Option<String>,
    /// The session ends.
    fatal: bool,
}

/// SQLSTATEs, by the names of PostgreSQL's manual (appendix A).
pub(super) mod code {
    pub(crate) const PROTOCOL_VIOLATION: &str = "08P01";
    pub(crate) const FEATURE_NOT_SUPPORTED: &str = "0A000";
    pub(crate) const BAD_ENCODING: &str = "22021";
    pub(crate) const BAD_PARAMETER: &str = "22023";
    pub(crate) const BAD_TEXT: &str = "22P02";
    pub(crate) const FAILED_TRANSACTION: &str = "25P02";
    pub(crate) const NO_STATEMENT: &str = "26000";
    pub(crate) const BAD_AUTHORIZATION: &str = "28000";
    pub(crate) const WRONG_PASSWORD: &str = "28P01";
    pub(crate) const NO_PORTAL: &str = "34000";
    pub(crate) const NO_DATABASE: &str = "3D000";
    pub(crate) const NOT_ALLOWED: &str = "42501";
    pub(crate) const SYNTAX: &str = "42601";
    pub(crate) const UNDEFINED: &str = "42704";
    pub(crate) const DUPLICATE_STATEMENT: &str = "42P05";
    pub(crate) const LIMIT: &str = "54000";
    pub(crate) const NOT_IN_STATE: &str = "55000";
    pub(crate) const CANCELLED: &str = "57014";
    pub(crate) const SHUTDOWN: &str = "57P01";
    pub(crate) const IDLE: &str = "57P05";
    pub(crate) const AWAY: &str = "58000";
    pub(crate) const INTERNAL: &str = "XX000";
}

impl ConsoleError {
    /// A command was not done; the session goes on.
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            fatal: false,
        }
    }

    /// The session ends.
    pub(super) fn fatal(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            fatal: true,
            ..Self::new(code, message)
        }
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) const fn is_fatal(&self) -> bool {
        self.fatal
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// As it is sent. Text of strangers in it cannot act on the client's terminal.
    pub(super) fn response(&self) -> ErrorResponse {
        let severity = if self.fatal { "FATAL" } else { "ERROR" };
        let mut info = ErrorInfo::new(severity.to_owned(), self.code.to_owned(), safe(&self.message));
        info.severity_nonlocalized = Some(severity.to_owned());
        info.hint = self.hint.as_deref().map(safe);
        info.into()
    }
}

/// A text that cannot act on a terminal, of limited length.
fn safe(text: &str) -> String {
    let line = Line(text).to_string();
    match line.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}
