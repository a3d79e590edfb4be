//! Why a filter is refused, or cannot be evaluated.

/// The filter could never be evaluated. Registering it is refused with status 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct ParseError {
    /// The place in the filter, such as `$or[1].user.uid.$gt`.
    pub place: String,
    /// What is wrong there, and what would be right.
    pub reason: String,
}

/// The filter cannot be evaluated on this document: PHP would throw, or evaluation took too long. It counts as no match; the
/// caller counts and logs it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EvalError(pub String);
