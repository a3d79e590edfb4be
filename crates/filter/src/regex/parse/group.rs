//! What begins with a parenthesis.

use super::parser::{MAX_DEPTH, Parser};
use crate::regex::node::{Modes, Node, PcreOnly};

impl Parser<'_> {
    pub(super) fn group(&mut self) -> Option<Option<Node>> {
        if self.rest.starts_with("(*") {
            return self.verb().map(Some);
        }
        if !self.take("(?") {
            self.rest = &self.rest[1..];
            self.captures += 1;
            return self.inside().map(Some);
        }
        let around = |inner, behind, negative| Node::Lookaround {
            inner: Box::new(inner),
            behind,
            negative,
        };
        Some(Some(if self.take(":") || self.take("|") {
            self.inside()?
        } else if self.take(">") {
            Node::Atomic(Box::new(self.inside()?))
        } else if self.take("=") {
            around(self.inside()?, false, false)
        } else if self.take("!") {
            around(self.inside()?, false, true)
        } else if self.take("<=") {
            around(self.inside()?, true, false)
        } else if self.take("<!") {
            around(self.inside()?, true, true)
        } else if self.take("*") || self.take("<*") {
            self.pcre_only = true;
            Node::PcreOnlyGroup(Box::new(self.inside()?))
        } else if self.take("P=") {
            self.until(")")?;
            self.pcre_only(PcreOnly::Backreference(0))
        } else if self.take("P>") || self.take("&") {
            self.until(")")?;
            self.pcre_only(PcreOnly::Recursion)
        } else if self.take("P<") || self.take("<") {
            self.until(">")?;
            self.captures += 1;
            self.inside()?
        } else if self.take("'") {
            self.until("'")?;
            self.captures += 1;
            self.inside()?
        } else if self.take("C") {
            // The text of a callout may contain a parenthesis.
            if !self.rest.starts_with(|c: char| c.is_ascii_digit() || c == ')') {
                return None;
            }
            self.until(")")?;
            self.pcre_only(PcreOnly::Free)
        } else if self.take("(") {
            self.condition()?
        } else if self
            .rest
            .starts_with(|c: char| c == 'R' || c.is_ascii_digit() || c == '+')
            || (self.rest.starts_with('-') && self.rest[1..].starts_with(|c: char| c.is_ascii_digit()))
        {
            self.until(")")?;
            self.pcre_only(PcreOnly::Recursion)
        } else {
            return self.settings();
        }))
    }

    fn inside(&mut self) -> Option<Node> {
        let inner = self.alternatives()?;
        self.take(")").then_some(inner)
    }

    /// `(?(1)yes|no)`, `(?(?=a)yes|no)`.
    fn condition(&mut self) -> Option<Node> {
        self.pcre_only = true;
        let asked = if self.rest.starts_with(['?', '*']) {
            // The condition is an assertion; a parser of its own reads it, with the parenthesis that was already taken.
            let before = self.rest;
            let whole = format!("({before}");
            let mut inner = Parser {
                rest: &whole,
                modes: self.modes,
                depth: self.depth + 1,
                captures: self.captures,
                pcre_only: true,
                separable: self.separable,
            };
            if inner.depth > MAX_DEPTH {
                return None;
            }
            let node = inner.group()?.unwrap_or(Node::Empty);
            self.captures = inner.captures;
            self.separable = inner.separable;
            self.rest = &before[before.len() - inner.rest.len()..];
            node
        } else {
            self.until(")")?;
            Node::Empty
        };
        let branches = self.inside()?;
        Some(Node::PcreOnlyGroup(Box::new(Node::Sequence(vec![
            asked, branches,
        ]))))
    }

    /// `(?i)`, `(?i-s:…)`, `(?^)`.
    fn settings(&mut self) -> Option<Option<Node>> {
        let mut modes = self.modes;
        let mut on = true;
        loop {
            let c = self.rest.chars().next()?;
            self.rest = &self.rest[c.len_utf8()..];
            match c {
                '^' => {
                    modes = Modes {
                        ungreedy: modes.ungreedy,
                        unicode: modes.unicode,
                        ..Modes::default()
                    };
                }
                '-' => on = false,
                'i' => modes.caseless = on,
                's' => modes.dot_all = on,
                'm' => modes.multi_line = on,
                'x' if self.rest.starts_with('x') => {
                    // White space in classes is ignored, too.
                    self.pcre_only = true;
                    self.rest = &self.rest[1..];
                    modes.extended = on;
                }
                'x' => modes.extended = on,
                'U' => modes.ungreedy = on,
                'n' | 'J' => {}
                // These change the meaning of classes.
                'a' | 'D' | 'S' | 'W' | 'P' | 'T' | 'r' => self.pcre_only = true,
                ')' => {
                    self.modes = modes;
                    return Some(None);
                }
                ':' => {
                    let before = std::mem::replace(&mut self.modes, modes);
                    let inner = self.inside()?;
                    self.modes = before;
                    return Some(Some(inner));
                }
                _ => return None,
            }
        }
    }

    /// `(*FAIL)`, `(*atomic:…)`.
    fn verb(&mut self) -> Option<Node> {
        self.rest = &self.rest[2..];
        self.pcre_only = true;
        let name = self
            .rest
            .bytes()
            .take_while(|b| b.is_ascii_alphabetic() || *b == b'_')
            .count();
        let (name, rest) = self.rest.split_at(name);
        if name.bytes().any(|b| b.is_ascii_lowercase()) && rest.starts_with(':') {
            self.rest = &rest[1..];
            // `(*scan_substring:` and additions of future versions are not understood.
            let known = [
                "pla",
                "plb",
                "nla",
                "nlb",
                "napla",
                "naplb",
                "sr",
                "asr",
                "atomic",
                "positive_lookahead",
                "positive_lookbehind",
                "negative_lookahead",
                "negative_lookbehind",
                "script_run",
                "atomic_script_run",
                "non_atomic_positive_lookahead",
                "non_atomic_positive_lookbehind",
            ];
            if !known.contains(&name) {
                return None;
            }
            return Some(Node::PcreOnlyGroup(Box::new(self.inside()?)));
        }
        self.until(")")?;
        self.separable = false;
        Some(Node::PcreOnly(PcreOnly::Free))
    }
}
