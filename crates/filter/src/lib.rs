//! Filters: Nextcloud's PHPMongoQuery dialect, exactly.
//!
//! Guarantees:
//! * A filter means here what it means in Nextcloud (PHP 8).
//! * Evaluation never panics, and takes at most 50 ms of CPU time and 32 MiB of memory (see [`Budget`]).
//! * [`Filter::parse`] refuses a filter that could never be evaluated, and names the place. [`Filter::warnings`] names what can
//!   never match.
//!
//! `docs/filters.md` describes the dialect for users.
//!
//! A [`Filter`] is compiled from JSON and evaluated on a [`Document`]. The document is built once for an event, and only as far as
//! the filters read it ([`Needs`]).

#![forbid(unsafe_code)]

mod budget;
mod check;
mod clause;
mod compare;
mod compile;
mod document;
mod error;
mod eval;
mod filter;
mod index;
mod needs;
mod number;
mod regex;
mod set;
mod shown;
mod value;

#[cfg(test)]
mod tests;

pub use budget::Budget;
pub use document::{Document, State, Subject, User};
pub use error::{EvalError, ParseError};
pub use filter::{Filter, MAX_BYTES};
pub use index::FilterIndex;
pub use needs::{LIST_KEY, Needs};
pub use regex::regex_runaways;
pub use value::{Alias, MAX_DEPTH, Map, TooDeep, Value};
