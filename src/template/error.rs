//! Why a template cannot be used or gives no body, and where.

use std::fmt;

use minijinja::{Error, ErrorKind};

/// The longest template, in bytes.
pub(crate) const LONGEST: usize = 32 * 1024;
/// The largest body, in bytes.
pub(crate) const LARGEST: usize = 1024 * 1024;
/// The longest explanation that an error keeps, in characters.
const LONGEST_REASON: usize = 300;

/// A place in a text, counted from 1, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl Place {
    /// Where the byte at `offset` is.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        Self {
            line: before.matches('\n').count() + 1,
            column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a template cannot be used, or gave no body. No message shows a value of the data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("has {0} bytes, and may have {LONGEST}")]
    TooLong(usize),
    #[error("{place}: {reason}")]
    Wrong { place: Place, reason: String },
    #[error("{0}: it takes more steps or memory than a template may")]
    TooMuch(Place),
    #[error("it gives {0} bytes, and a body may have {LARGEST}")]
    TooLarge(usize),
    /// The place is in the text that was made, not in the template.
    #[error(
        "what it gives is not JSON: {reason} at {place} of the result; write a text with values in it as {{{{ \"…\" ~ value }}}}, \
         without quotes around the braces"
    )]
    NotJson { place: Place, reason: String },
}

impl TemplateError {
    pub(super) fn wrong(place: Place, reason: &str) -> Self {
        Self::Wrong {
            place,
            reason: reason.chars().take(LONGEST_REASON).collect(),
        }
    }

    /// What the engine says of the template `text`.
    pub(super) fn of_engine(text: &str, error: &Error) -> Self {
        let place = match error.range() {
            Some(range) => Place::of(text, range.start),
            None => Place {
                line: error.line().unwrap_or(1),
                column: 1,
            },
        };
        if error.kind() == ErrorKind::OutOfFuel {
            return Self::TooMuch(place);
        }
        match error.detail() {
            Some(reason) => Self::wrong(place, reason),
            None => Self::wrong(place, &error.kind().to_string()),
        }
    }

    /// What the reader of JSON says of a result.
    pub(super) fn of_result(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let reason = text
            .split_once(" at line ")
            .map_or(text.as_str(), |(reason, _)| reason);
        Self::NotJson {
            place: Place {
                line: error.line(),
                column: error.column(),
            },
            reason: reason.to_owned(),
        }
    }
}
