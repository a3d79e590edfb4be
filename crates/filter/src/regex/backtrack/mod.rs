//! A matcher that can be stopped: for searches in which PCRE2 could be lost for seconds, because nothing ends one of its
//! matches from outside.
//!
//! It only says whether there is a match. It tries what PCRE2 tries, in the same order, but no place of the pattern twice
//! at the same place of the text, so its time is linear in the text; every step is paid for. What single characters mean (`\w`,
//! `[^é]`, `.`, any case) is not known here: PCRE2 is asked, a character at a time.

mod class;
mod compile;
mod program;
mod run;
mod shape;

use super::node::Parsed;
use crate::budget::Fuel;

use self::program::Program;

pub(super) use self::run::Stopped;

/// A program for one pattern.
#[derive(Debug)]
pub(super) struct Backtracker(Program);

impl Backtracker {
    /// `None` where the pattern has parts that only PCRE2 knows, or is too large.
    pub(super) fn new(parsed: &Parsed, unicode: bool, anchored: bool) -> Option<Self> {
        compile::compile(parsed, unicode, anchored).map(Self)
    }

    /// Whether there is a match anywhere in `text`.
    pub(super) fn is_match(&self, text: &str, fuel: &mut Fuel) -> Result<bool, Stopped> {
        run::is_match(&self.0, text, fuel)
    }
}
