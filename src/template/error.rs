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

pub(super) const NO_TEST: &str = "there is no test of this name here";
pub(super) const NO_MAP: &str = "this is no map";
pub(super) const LONG_PATH: &str = "this attribute has too many parts";
pub(super) const NO_JSON: &str = "this cannot be written as JSON";

/// What an error may say beside its kind: texts without values.
const HARMLESS: [&str; 4] = [NO_TEST, NO_MAP, LONG_PATH, NO_JSON];

/// What is wrong, by the kind of error alone.
const fn reason_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidOperation => {
            "this cannot be done with these values: an operator, filter or test got one of another type, too large or out of range, \
             or a number was divided by zero"
        }
        ErrorKind::NonPrimitive => "a text, number or truth value is needed here, and this is a list or map",
        ErrorKind::NonKey => "this cannot be the name of a part",
        ErrorKind::TooManyArguments => {
            "a filter or test has too many arguments, or one that it does not know"
        }
        ErrorKind::MissingArgument => "a filter or test lacks an argument",
        ErrorKind::UnknownFilter => "this filter is unknown here",
        ErrorKind::UnknownTest => "this test is unknown here",
        ErrorKind::UnknownFunction | ErrorKind::UnknownMethod => "functions are not available",
        ErrorKind::UndefinedError => "there is nothing here to compute with",
        ErrorKind::CannotUnpack => "the loop names another number of parts than an item has",
        ErrorKind::WriteFailure | ErrorKind::BadSerialization => NO_JSON,
        _ => "this fails with the values of this event",
    }
}

fn place_of(text: &str, error: &Error) -> Place {
    match error.range() {
        Some(range) => Place::of(text, range.start),
        None => Place {
            line: error.line().unwrap_or(1),
            column: 1,
        },
    }
}

impl TemplateError {
    pub(super) fn wrong(place: Place, reason: &str) -> Self {
        Self::Wrong {
            place,
            reason: reason.chars().take(LONGEST_REASON).collect(),
        }
    }

    /// What the engine says of the template `text` when it reads it: there is no data yet.
    pub(super) fn of_engine(text: &str, error: &Error) -> Self {
        let place = place_of(text, error);
        match error.detail() {
            Some(reason) => Self::wrong(place, reason),
            None => Self::wrong(place, &error.kind().to_string()),
        }
    }

    /// What the engine says of the template `text` when it renders it. What it adds may hold values of the data, so only what is known
    /// to hold none is shown.
    pub(super) fn of_rendering(text: &str, error: &Error) -> Self {
        let place = place_of(text, error);
        if error.kind() == ErrorKind::OutOfFuel {
            return Self::TooMuch(place);
        }
        let known = error
            .detail()
            .and_then(|detail| HARMLESS.into_iter().find(|known| *known == detail));
        Self::wrong(place, known.unwrap_or_else(|| reason_of(error.kind())))
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
