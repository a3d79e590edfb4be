//! A filter: parsed from JSON, evaluated on documents.

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

/// The size limit of a filter at registration, in bytes of JSON. A filter is evaluated for every event, so it should be small.
pub const MAX_BYTES: usize = 65_536;

/// A compiled filter.
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
    /// If it could never be evaluated: an operator does not exist, or an operand has the wrong type.
    pub fn parse(json: &Json) -> Result<Self, ParseError> {
        let (filter, fault) = Self::compile(json, None)?;
        fault.map_or(Ok(filter), Err)
    }

    /// [`Self::parse`] for a webhook that listens to `classes`. It also warns of paths that none of these events has.
    ///
    /// # Errors
    /// As for [`Self::parse`].
    pub fn parse_for(json: &Json, classes: &[EventClass]) -> Result<Self, ParseError> {
        let (filter, fault) = Self::compile(json, Some(classes))?;
        fault.map_or(Ok(filter), Err)
    }

    /// Reads a filter as Nextcloud does, which notices a fault only when evaluation reaches it.
    ///
    /// # Errors
    /// If it is neither an object nor a list, or is nested too deep.
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
                Value::from_json(json).map_err(|e| whole(format!("{e}; use fewer levels")))?
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

    /// The parts that are legal but can never match, or always do, each with its place and a suggestion.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The parts of a document that it reads.
    #[must_use]
    pub const fn needs(&self) -> &Needs {
        &self.needs
    }

    pub(crate) const fn root(&self) -> &Clause {
        &self.root
    }

    /// Whether the document matches the filter.
    ///
    /// # Errors
    /// If PHP would throw (`%` of a text, a path that leads into a list of texts), or evaluation takes too many steps. It counts
    /// as no match; the caller counts and logs it.
    pub fn matches(&self, document: &Document<'_>) -> Result<bool, EvalError> {
        self.matches_within(document, &mut Budget::default())
    }

    /// [`Self::matches`], for one of several filters of one event, which share `budget`.
    ///
    /// # Errors
    /// As for [`Self::matches`], and if the budget is used up.
    pub fn matches_within(&self, document: &Document<'_>, budget: &mut Budget) -> Result<bool, EvalError> {
        eval::evaluate(&self.root, document.root(), budget)
    }

    /// Counts an evaluation that failed. Returns how many failed so far, and whether to log this one: the first, second, fourth,
    /// eighth … so that a filter cannot flood the log.
    #[must_use]
    pub fn failed(&self) -> (u64, bool) {
        let times = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        (times, times.is_power_of_two())
    }
}
