//! The state of the parser, and how it takes text.

use crate::regex::node::{Modes, Node, One, PcreOnly};

/// PCRE2 does not compile patterns that are nested deeper.
pub(super) const MAX_DEPTH: usize = 260;

/// Reads a pattern from left to right. The parts of the grammar are in the modules beside this one.
pub(super) struct Parser<'p> {
    pub(super) rest: &'p str,
    pub(super) modes: Modes,
    pub(super) depth: usize,
    pub(super) captures: u32,
    pub(super) pcre_only: bool,
    pub(super) separable: bool,
}

impl<'p> Parser<'p> {
    pub(super) const fn new(pattern: &'p str, modes: Modes) -> Self {
        Self {
            rest: pattern,
            modes,
            depth: 0,
            captures: 0,
            pcre_only: false,
            separable: true,
        }
    }

    /// Takes `prefix`, if it comes next.
    pub(super) fn take(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes the text up to `end`, and `end`; returns the text before it.
    pub(super) fn until(&mut self, end: &str) -> Option<&'p str> {
        let (inside, rest) = self.rest.split_once(end)?;
        self.rest = rest;
        Some(inside)
    }

    pub(super) fn pcre_only(&mut self, pcre_only: PcreOnly) -> Node {
        self.pcre_only = true;
        self.separable &= pcre_only != PcreOnly::Recursion;
        Node::PcreOnly(pcre_only)
    }

    pub(super) fn one(&self, source: &str) -> Node {
        Node::One(One {
            source: source.to_owned(),
            caseless: self.modes.caseless,
            dot_all: self.modes.dot_all,
        })
    }
}
