//! A memoizing backtracker: a matcher that can be stopped, for searches in which PCRE2 might spend seconds.
//!
//! It only says whether there is a match. It tries what PCRE2 tries, in the same order, but no split of the program twice at the
//! same place of the text, so its time is linear in the length of the text. Every step is charged to the evaluation's fuel. It
//! does not know what single characters mean (`\w`, `[^é]`, `.`, upper and lower case): PCRE2 is asked, one character at a time.

mod class;
mod compile;
mod program;
mod run;
mod shape;

use super::node::Parsed;
use crate::budget::Fuel;

use self::program::Program;

pub(super) use self::run::Stopped;

/// Searches texts for one pattern.
#[derive(Debug)]
pub(super) struct Backtracker(Program);

impl Backtracker {
    /// `None` if the pattern has parts that only PCRE2 understands, or is too large.
    pub(super) fn new(parsed: &Parsed, unicode: bool, anchored: bool) -> Option<Self> {
        compile::compile(parsed, unicode, anchored).map(Self)
    }

    /// Whether there is a match anywhere in `text`.
    pub(super) fn is_match(&self, text: &str, fuel: &mut Fuel) -> Result<bool, Stopped> {
        run::is_match(&self.0, text, fuel)
    }
}
