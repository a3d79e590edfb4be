//! Filters: Nextcloud's PHPMongoQuery dialect, exactly.
//!
//! Guarantees: a filter means here what it means in Nextcloud (PHP 8); evaluation never panics, and takes at most 50 ms of CPU
//! time and 32 MiB of memory (see [`Budget`]);
//! what could never be evaluated is refused by [`Filter::parse`] with the place, and what can never match is named in
//! [`Filter::warnings`]. `docs/filters.md` describes the dialect for users.
//!
//! JSON is compiled ([`Filter`]) and evaluated on a [`Document`], which is built once for an event, only as far as
//! the filters in play look into it ([`Needs`]).

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
pub use needs::Needs;
pub use regex::regex_runaways;
pub use value::{Alias, MAX_DEPTH, Map, TooDeep, Value};
