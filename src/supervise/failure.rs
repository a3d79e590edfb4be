//! Manner a part failed.

use std::any::Any;
use std::fmt;

use tokio::task::JoinError;

/// The failure of a part, or of a task of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartFailure {
    part: &'static str,
    how: Manner,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Manner {
    /// With the message of the panic.
    Panicked(String),
    Ended,
}

impl PartFailure {
    pub(crate) fn panicked(part: &'static str, panic: &(dyn Any + Send)) -> Self {
        Self {
            part,
            how: Manner::Panicked(crate::error_text::panic(panic)),
        }
    }

    /// The part ended although nobody had asked it to.
    pub(crate) const fn ended(part: &'static str) -> Self {
        Self {
            part,
            how: Manner::Ended,
        }
    }

    /// The failure of a task that gave no result.
    pub(crate) fn of(part: &'static str, error: JoinError) -> Self {
        match error.try_into_panic() {
            Ok(panic) => Self::panicked(part, panic.as_ref()),
            Err(_) => Self::ended(part),
        }
    }

    /// A few words that everybody may read. The message of a panic is left out, because it may contain somebody's data.
    pub(crate) fn in_short(&self) -> String {
        match &self.how {
            Manner::Panicked(_) => format!("{} panicked", self.part),
            Manner::Ended => self.to_string(),
        }
    }

    pub(crate) const fn part(&self) -> &'static str {
        self.part
    }
}

impl fmt::Display for PartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.how {
            Manner::Panicked(said) => write!(f, "{} panicked: {said}", self.part),
            Manner::Ended => write!(f, "{} ended without having been asked to", self.part),
        }
    }
}

impl std::error::Error for PartFailure {}

/// Proof that a failure was reported: it is in the log, and the part counts as down.
#[derive(Debug)]
#[must_use = "the part has to end"]
pub struct Reported(pub(super) PartFailure);
