//! Why a filter is refused, or could not be evaluated.

/// A filter that could never be evaluated; refused at registration with 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct ParseError {
    /// Where in the filter, `$or[1].user.uid.$gt`.
    pub place: String,
    /// What is wrong there and what would be right.
    pub reason: String,
}

/// A type error at evaluation: counts as no match, is counted and logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EvalError(pub String);
