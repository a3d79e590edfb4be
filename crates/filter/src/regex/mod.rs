//! `"/pattern/flags"` as PHP's `preg_match` takes it.
//!
//! Guarantees: a pattern that PHP refuses matches nothing, as in PHP. A search that takes too long is stopped, matches nothing, as
//! in PHP after its `pcre.backtrack_limit`, and is counted and logged.
//!
//! A pattern is read by [`leading`], [`flags`], [`adapt`] and [`parse`], into the structure in [`node`]. [`search`] compiles it
//! with PCRE2 and decides, by [`cost`], whether PCRE2 or [`backtrack`] searches.

mod adapt;
mod backtrack;
mod cost;
mod expression;
mod flags;
mod leading;
mod node;
mod parse;
mod refused;
mod search;

pub use self::expression::regex_runaways;
pub(crate) use self::expression::{Outcome, Regex, split};
pub(crate) use self::refused::Refused;
