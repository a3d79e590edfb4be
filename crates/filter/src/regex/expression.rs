//! A regular expression of a filter.

use std::sync::atomic::{AtomicU64, Ordering};

use super::backtrack::Stopped;
use super::flags::Flags;
use super::refused::Refused;
use super::search::CompiledPattern;
use crate::budget::Fuel;

/// `ORW_LOG` names the program's modules (`openregister_webhooks=debug`), not its crates.
const LOG_TARGET: &str = "openregister_webhooks::filter::regex";

static RUNAWAYS: AtomicU64 = AtomicU64::new(0);

/// How many searches with regular expressions were stopped since the process started, because they took too long.
#[must_use]
pub fn regex_runaways() -> u64 {
    RUNAWAYS.load(Ordering::Relaxed)
}

/// A regular expression of a filter.
#[derive(Debug)]
pub(crate) struct Regex {
    /// `None` if PHP refuses the pattern.
    compiled: Option<CompiledPattern>,
    /// The expression as it stands in the filter, for the log.
    written: Box<str>,
    runaways: AtomicU64,
}

/// The result of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Match,
    NoMatch,
    RanAway,
}

/// The pattern and the flags of `text` if PHPMongoQuery takes it for a regular expression: it begins with `/`, and only
/// letters follow its last `/` (and at most one line end).
pub(crate) fn split(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix('/')?;
    let (pattern, flags) = rest.rsplit_once('/')?;
    let flags = flags.strip_suffix('\n').unwrap_or(flags);
    (flags.bytes().all(|b| b.is_ascii_alphabetic()) && !pattern.contains('\n')).then_some((pattern, flags))
}

impl Regex {
    /// Compiles the parts that [`split`] found in `written`. The second value says why PHP refuses the expression, if it does.
    pub(crate) fn new(written: &str, pattern: &str, flags: &str) -> (Self, Option<Refused>) {
        let compiled = Flags::parse(pattern, flags).and_then(|flags| CompiledPattern::new(pattern, flags));
        let (compiled, refused) = match compiled {
            Ok(compiled) => (Some(compiled), None),
            Err(refused) => (None, Some(refused)),
        };
        let regex = Self {
            compiled,
            written: written.into(),
            runaways: AtomicU64::new(0),
        };
        (regex, refused)
    }

    /// The size of its compiled form, in items.
    pub(crate) fn size(&self) -> f64 {
        self.compiled.as_ref().map_or(0.0, CompiledPattern::size)
    }

    /// Searches `text`; charges `fuel`.
    pub(crate) fn is_match(&self, text: &str, fuel: &mut Fuel) -> Outcome {
        let Some(compiled) = &self.compiled else {
            return Outcome::NoMatch;
        };
        match compiled.is_match(text, fuel) {
            Ok(true) => Outcome::Match,
            Ok(false) => Outcome::NoMatch,
            Err(Stopped) => {
                self.ran_away(text.len());
                Outcome::RanAway
            }
        }
    }

    /// Counts a search that was stopped. Logs the first, second, fourth, eighth … one, so that a filter cannot flood the log.
    fn ran_away(&self, length: usize) {
        RUNAWAYS.fetch_add(1, Ordering::Relaxed);
        let times = self.runaways.fetch_add(1, Ordering::Relaxed) + 1;
        if times.is_power_of_two() {
            let pattern: String = self.written.chars().take(200).collect();
            tracing::warn!(
                target: LOG_TARGET,
                pattern,
                text_bytes = length,
                times,
                "a filter's regular expression was stopped before it came to a result, which counts as no match; \
                 simplify the pattern (nested repetition such as (a+)+ is the usual cause)"
            );
        }
    }
}

#[cfg(test)]
mod tests;
