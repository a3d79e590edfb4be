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
mod compare;
mod compile;
mod document;
mod error;
mod eval;
mod needs;
mod number;
mod regex;
mod set;
mod value;

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value as Json;

use orw_model::EventClass;

pub use budget::Budget;
pub use document::{Document, State, Subject, User};
pub use error::{EvalError, ParseError};
pub use needs::Needs;
pub use regex::regex_runaways;
pub use value::{Alias, MAX_DEPTH, Map, TooDeep, Value};

/// Bytes of JSON that a filter may have to be registered: one that is evaluated for every event should be quick to read.
pub const MAX_BYTES: usize = 65_536;

/// A filter, ready to be evaluated.
#[derive(Debug)]
pub struct Filter {
    root: compile::Clause,
    warnings: Vec<String>,
    needs: Needs,
    failures: AtomicU64,
}

impl Filter {
    /// Reads a filter. `null`, `[]` and `{}` match everything.
    ///
    /// # Errors
    /// Where it could never be evaluated: an operator that does not exist, an operand of the wrong type.
    pub fn parse(json: &Json) -> Result<Self, ParseError> {
        let (filter, fault) = Self::compile(json, None)?;
        fault.map_or(Ok(filter), Err)
    }

    /// [`Self::parse`] for a webhook that listens to `classes`: warns of what none of them has, too.
    ///
    /// # Errors
    /// As there.
    pub fn parse_for(json: &Json, classes: &[EventClass]) -> Result<Self, ParseError> {
        let (filter, fault) = Self::compile(json, Some(classes))?;
        fault.map_or(Ok(filter), Err)
    }

    /// Reads a filter as Nextcloud does, which notices what is wrong with it only when evaluation gets there.
    ///
    /// # Errors
    /// Where it is neither object nor list, or nests too deep.
    pub fn parse_leniently(json: &Json) -> Result<Self, ParseError> {
        Self::compile(json, None).map(|(filter, _)| filter)
    }

    fn compile(
        json: &Json,
        classes: Option<&[EventClass]>,
    ) -> Result<(Self, Option<ParseError>), ParseError> {
        let whole = |reason| ParseError {
            place: "filter".into(),
            reason,
        };
        let value = match json {
            Json::Null => Value::List(Vec::new()),
            Json::Object(_) | Json::Array(_) => {
                Value::from_json(json).map_err(|e| whole(format!("{e}; write it flatter")))?
            }
            _ => {
                return Err(whole(
                    "needs an object of conditions such as {\"user.uid\": \"bob\"}, or {} for everything"
                        .into(),
                ));
            }
        };
        let compiled = compile::compile(&value, classes);
        let filter = Self {
            root: compiled.root,
            warnings: compiled.warnings,
            needs: compiled.needs,
            failures: AtomicU64::new(0),
        };
        Ok((filter, compiled.faults.into_iter().next()))
    }

    /// What is legal but can never match, or always does, each with its place and a suggestion.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What it looks into.
    #[must_use]
    pub const fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Whether the document fulfils it.
    ///
    /// # Errors
    /// Where PHP would throw (`%` on a text, a path into a list of texts), or evaluation takes too many steps. It counts
    /// as no match; the caller counts and logs it.
    pub fn matches(&self, document: &Document<'_>) -> Result<bool, EvalError> {
        self.matches_within(document, &mut Budget::default())
    }

    /// [`Self::matches`], as one of several that look at one event.
    ///
    /// # Errors
    /// As there, and where nothing is left of the budget.
    pub fn matches_within(&self, document: &Document<'_>, budget: &mut Budget) -> Result<bool, EvalError> {
        eval::evaluate(&self.root, document.root(), budget)
    }

    /// Notes that it could not be evaluated, and says how often that was so and whether this time is one for the log:
    /// the first, the second, the fourth, … so that a filter cannot flood it.
    #[must_use]
    pub fn failed(&self) -> (u64, bool) {
        let times = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        (times, times.is_power_of_two())
    }
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod tests;
