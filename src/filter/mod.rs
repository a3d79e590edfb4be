//! Filters: Nextcloud's PHPMongoQuery dialect, exactly.
//!
//! Guarantees: a filter means here what it means in Nextcloud; evaluation never panics and ends in bounded time.

mod error;

pub use error::{EvalError, ParseError};
