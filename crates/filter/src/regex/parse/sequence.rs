//! Alternatives, sequences, single items and quantifiers.

use super::parser::{MAX_DEPTH, Parser};
use crate::regex::node::{Greed, Node, Position};

impl Parser<'_> {
    /// Everything up to the parenthesis that closes the group, or to the end. A setting such as `(?i)` holds to the end of its group.
    pub(super) fn alternatives(&mut self) -> Option<Node> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let modes = self.modes;
        let mut branches = vec![self.sequence()?];
        while self.take("|") {
            branches.push(self.sequence()?);
        }
        self.modes = modes;
        self.depth -= 1;
        Some(match branches.len() {
            1 => branches.remove(0),
            _ => Node::Alternatives(branches),
        })
    }

    fn sequence(&mut self) -> Option<Node> {
        let mut items = Vec::new();
        loop {
            self.skip_layout()?;
            match self.rest.chars().next() {
                None | Some('|' | ')') => break,
                Some(c) => {
                    if let Some(item) = self.item(c, &mut items)? {
                        let item = self.quantified(item)?;
                        items.push(item);
                    }
                }
            }
        }
        Some(match items.len() {
            0 => Node::Empty,
            1 => items.remove(0),
            _ => Node::Sequence(items),
        })
    }

    /// Skips comments, and in extended mode white space.
    fn skip_layout(&mut self) -> Option<()> {
        loop {
            if self.take("(?#") {
                self.until(")")?;
            } else if self.modes.extended && self.rest.starts_with('#') {
                self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
            } else if self.modes.extended
                && let Some(rest) = self.rest.strip_prefix([
                    ' ', '\t', '\n', '\r', '\x0b', '\x0c', '\u{85}', '\u{200e}', '\u{200f}', '\u{2028}',
                    '\u{2029}',
                ])
            {
                self.rest = rest;
            } else {
                return Some(());
            }
        }
    }

    /// The next item without its quantifier. `\Q…\E` is several items; all but the last are pushed to `items`.
    fn item(&mut self, c: char, items: &mut Vec<Node>) -> Option<Option<Node>> {
        Some(Some(match c {
            '(' => return self.group(),
            '[' => {
                let source = self.class()?;
                self.one(source)
            }
            '\\' if self.take("\\Q") => {
                let text = match self.rest.split_once("\\E") {
                    Some((text, rest)) => {
                        self.rest = rest;
                        text
                    }
                    None => std::mem::take(&mut self.rest),
                };
                for c in text.chars() {
                    self.literal(c, items);
                }
                // A quantifier applies to the last one.
                return Some(if text.is_empty() { None } else { items.pop() });
            }
            '\\' if self.take("\\E") => return Some(None),
            '\\' => self.escape()?,
            '^' | '$' => {
                self.rest = &self.rest[1..];
                Node::At(match (c, self.modes.multi_line) {
                    ('^', false) => Position::Start,
                    ('^', true) => Position::LineStart,
                    (_, false) => Position::End,
                    (_, true) => Position::LineEnd,
                })
            }
            '*' | '+' | '?' => return None,
            '.' => {
                self.rest = &self.rest[1..];
                self.one(".")
            }
            _ => {
                self.rest = &self.rest[c.len_utf8()..];
                self.literal(c, items);
                return Some(items.pop());
            }
        }))
    }

    /// A character that stands for itself.
    fn literal(&self, c: char, items: &mut Vec<Node>) {
        if c.is_ascii() || self.modes.unicode {
            items.push(self.one(&escaped(c)));
            return;
        }
        let mut bytes = [0; 4];
        for byte in c.encode_utf8(&mut bytes).bytes() {
            items.push(self.one(&format!("\\x{byte:02x}")));
        }
    }

    fn quantified(&mut self, inner: Node) -> Option<Node> {
        let before = self.rest;
        self.skip_layout()?;
        let (min, max) = match self.rest.as_bytes().first() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => match bounds(self.rest) {
                Some((min, max, taken)) => {
                    self.rest = &self.rest[taken - 1..];
                    (min, max)
                }
                // The brace stands for itself.
                None => return Some(inner),
            },
            _ => {
                self.rest = before;
                return Some(inner);
            }
        };
        self.rest = &self.rest[1..];
        let after = self.rest;
        self.skip_layout()?;
        if self.rest.len() != after.len() && self.rest.starts_with(['+', '?']) {
            return None;
        }
        let greed = if self.take("+") {
            Greed::Possessive
        } else if self.take("?") != self.modes.ungreedy {
            Greed::Lazy
        } else {
            Greed::Greedy
        };
        let inner = match inner {
            // PCRE2 has rules of its own for repeating something that matches the empty text.
            Node::At(_) | Node::Lookaround { .. } | Node::Empty => {
                self.pcre_only = true;
                inner
            }
            inner => inner,
        };
        Some(Node::Repeat {
            inner: Box::new(inner),
            min,
            max,
            greed,
        })
    }
}

/// The pattern for a literal character.
fn escaped(c: char) -> String {
    if c.is_ascii_punctuation() {
        format!("\\{c}")
    } else {
        c.to_string()
    }
}

/// The bounds of `{2}`, `{2,}` or `{2,3}` at the start of `rest`, and its length in bytes.
fn bounds(rest: &str) -> Option<(u32, Option<u32>, usize)> {
    let end = rest.find('}')?;
    let inside = &rest[1..end];
    let number = |text: &str| -> Option<u32> {
        (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let (min, max) = match inside.split_once(',') {
        None => (number(inside)?, Some(number(inside)?)),
        Some((min, "")) => (number(min)?, None),
        Some((min, max)) => (number(min)?, Some(number(max)?)),
    };
    Some((min, max, end + 1))
}
