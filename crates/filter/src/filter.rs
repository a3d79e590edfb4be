//! A filter, from its JSON to an answer.

use std::sync::atomic::{AtomicU64, Ordering};

use orw_model::EventClass;
use serde_json::Value as Json;

use crate::budget::Budget;
use crate::clause::Clause;
use crate::compile;
use crate::document::Document;
use crate::error::{EvalError, ParseError};
use crate::eval;
use crate::needs::Needs;
use crate::value::Value;

/// Bytes of JSON that a filter may have to be registered: one that is evaluated for every event should be quick to read.
pub const MAX_BYTES: usize = 65_536;

/// A filter, ready to be evaluated.
#[derive(Debug)]
pub struct Filter {
    root: Clause,
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
