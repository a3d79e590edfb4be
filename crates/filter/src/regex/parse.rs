//! The structure of a pattern, as far as it says how much work a match can be.
//!
//! Only patterns that PCRE2 has compiled are read here. What is not understood gives `None`, which makes the pattern
//! count as one of unknown cost; it is never taken for something cheaper than it is.

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Empty,
    /// One character.
    One(One),
    Sequence(Vec<Node>),
    Either(Vec<Node>),
    Repeat {
        inner: Box<Node>,
        min: u32,
        /// `None`: without end.
        max: Option<u32>,
        greed: Greed,
    },
    /// `(?>…)`.
    Atomic(Box<Node>),
    /// `(?=…)`, `(?!…)`, `(?<=…)`, `(?<!…)`.
    Around {
        inner: Box<Node>,
        behind: bool,
        negative: bool,
    },
    At(Position),
    /// What only PCRE2 itself evaluates.
    Foreign(Foreign),
    /// The same, with a part inside (conditions, scripts).
    ForeignGroup(Box<Node>),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct One {
    /// As written: `a`, `.`, `[^x]`, `\d`.
    pub(super) source: String,
    pub(super) caseless: bool,
    pub(super) dot_all: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greed {
    Greedy,
    Lazy,
    Possessive,
}

/// An assertion that depends on nothing but the characters around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    Start,
    LineStart,
    /// Before the last line end, or at the end.
    End,
    LineEnd,
    VeryEnd,
    WordBoundary,
    NoWordBoundary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    /// A reference to what a group matched: it compares as many bytes as the text has, at most, and looks at every group that
    /// may have its name, at so many at most.
    Backreference(u32),
    /// `\R` and `\X`.
    Several,
    Recursion,
    /// `\K`, verbs, call-outs: they cost nothing.
    Free,
}

/// The settings that change how a part is read.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent flags")]
pub(super) struct Modes {
    pub(super) caseless: bool,
    pub(super) dot_all: bool,
    pub(super) multi_line: bool,
    pub(super) extended: bool,
    pub(super) ungreedy: bool,
    /// Without it a character that is not ASCII is several, its bytes.
    pub(super) unicode: bool,
}

/// A pattern that was read.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) root: Node,
    /// How many groups capture.
    pub(super) captures: u32,
    /// Whether only PCRE2 knows what it means.
    pub(super) foreign: bool,
    /// Whether it means the same where the search is made attempt by attempt: what is repeated as a whole, verbs that
    /// end the search, and `\\G` do not.
    pub(super) separable: bool,
}

/// Deeper patterns are not compiled by PCRE2 either.
const MAX_DEPTH: usize = 260;

pub(super) fn parse(pattern: &str, modes: Modes) -> Option<Parsed> {
    let mut parser = Parser {
        rest: pattern,
        modes,
        depth: 0,
        captures: 0,
        foreign: false,
        separable: true,
    };
    let mut root = parser.alternatives()?;
    refer(&mut root, parser.captures);
    parser.rest.is_empty().then_some(Parsed {
        root,
        separable: parser.separable,
        captures: parser.captures,
        foreign: parser.foreign,
    })
}

/// Tells references how many groups there are; they may come later.
fn refer(node: &mut Node, captures: u32) {
    match node {
        Node::Foreign(Foreign::Backreference(groups)) => *groups = captures,
        Node::Sequence(items) | Node::Either(items) => {
            items.iter_mut().for_each(|item| refer(item, captures))
        }
        Node::Repeat { inner, .. }
        | Node::Atomic(inner)
        | Node::Around { inner, .. }
        | Node::ForeignGroup(inner) => refer(inner, captures),
        Node::Empty | Node::One(_) | Node::At(_) | Node::Foreign(_) => {}
    }
}

struct Parser<'p> {
    rest: &'p str,
    modes: Modes,
    depth: usize,
    captures: u32,
    foreign: bool,
    separable: bool,
}

impl<'p> Parser<'p> {
    fn take(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// What stands before `end`, which is taken too.
    fn until(&mut self, end: &str) -> Option<&'p str> {
        let (inside, rest) = self.rest.split_once(end)?;
        self.rest = rest;
        Some(inside)
    }

    fn foreign(&mut self, foreign: Foreign) -> Node {
        self.foreign = true;
        self.separable &= foreign != Foreign::Recursion;
        Node::Foreign(foreign)
    }

    /// Up to the parenthesis that closes the group, or the end. A setting such as `(?i)` holds to the end of its group.
    fn alternatives(&mut self) -> Option<Node> {
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
            _ => Node::Either(branches),
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

    /// Comments, and white space where it is layout.
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

    fn one(&self, source: &str) -> Node {
        Node::One(One {
            source: source.to_owned(),
            caseless: self.modes.caseless,
            dot_all: self.modes.dot_all,
        })
    }

    /// The next item without its quantifier; `\Q…\E` is several, of which all but the last are pushed on `items`.
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
                // A quantifier belongs to the last of them.
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
                // It stands for itself.
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
            // PCRE2 has rules of its own for what is repeated and takes up nothing.
            Node::At(_) | Node::Around { .. } | Node::Empty => {
                self.foreign = true;
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

    /// `[…]`.
    fn class(&mut self) -> Option<&'p str> {
        let whole = self.rest;
        let mut rest = &whole[1..];
        rest = rest.strip_prefix('^').unwrap_or(rest);
        let mut first = true;
        loop {
            let c = rest.chars().next()?;
            let taken = match c {
                ']' if !first => break,
                '\\' if rest.starts_with("\\Q") => rest.find("\\E")? + 2,
                '\\' if rest.starts_with("\\c") => 2 + rest[2..].chars().next()?.len_utf8(),
                '\\' => 1 + rest[1..].chars().next()?.len_utf8(),
                '[' if rest.starts_with("[:<:]") || rest.starts_with("[:>:]") => return None,
                '[' => named_class(rest).unwrap_or(1),
                _ => c.len_utf8(),
            };
            // `\E` alone is nothing, so what follows is still the first.
            first = first && rest.starts_with("\\E");
            rest = &rest[taken..];
        }
        let length = whole.len() - rest.len() + 1;
        self.rest = &whole[length..];
        Some(&whole[..length])
    }

    /// What begins with a backslash.
    fn escape(&mut self) -> Option<Node> {
        let whole = self.rest;
        let c = whole[1..].chars().next()?;
        let after = &whole[1 + c.len_utf8()..];
        let braced = |rest: &str| {
            rest.strip_prefix('{')
                .and_then(|r| r.find('}'))
                .map(|end| end + 2)
        };
        let digits = |rest: &str, most: usize, digit: fn(&u8) -> bool| {
            rest.bytes().take(most).take_while(digit).count()
        };
        // How many bytes after the letter belong to it.
        let taken = match c {
            'p' | 'P' => braced(after).or_else(|| after.chars().next().map(char::len_utf8))?,
            'x' => braced(after).unwrap_or_else(|| digits(after, 2, u8::is_ascii_hexdigit)),
            'o' => braced(after)?,
            'N' if after.starts_with("{U+") => braced(after)?,
            'c' => after.chars().next()?.len_utf8(),
            '0' => digits(after, 2, |b| matches!(b, b'0'..=b'7')),
            // Some of these are octal numbers; a reference is the more expensive of the two.
            '1'..='9' => digits(after, usize::MAX, u8::is_ascii_digit),
            'g' | 'k' => match after.chars().next()? {
                '{' => braced(after)?,
                '<' => after.find('>')? + 1,
                '\'' => after[1..].find('\'')? + 2,
                _ => digits(after, usize::MAX, |b| {
                    b.is_ascii_digit() || matches!(b, b'+' | b'-')
                }),
            },
            _ => 0,
        };
        self.rest = &after[taken..];
        let source = &whole[..whole.len() - self.rest.len()];
        Some(match c {
            '1'..='9' | 'k' => self.foreign(Foreign::Backreference(0)),
            'g' if source.starts_with("\\g<") || source.starts_with("\\g'") => {
                self.foreign(Foreign::Recursion)
            }
            'g' => self.foreign(Foreign::Backreference(0)),
            'R' | 'X' => self.foreign(Foreign::Several),
            'K' => self.foreign(Foreign::Free),
            'A' => Node::At(Position::Start),
            'G' => {
                self.separable = false;
                Node::At(Position::Start)
            }
            'Z' => Node::At(Position::End),
            'z' => Node::At(Position::VeryEnd),
            'b' => Node::At(Position::WordBoundary),
            'B' => Node::At(Position::NoWordBoundary),
            'C' => {
                // One byte, in the middle of a character too.
                self.foreign = true;
                self.one(source)
            }
            'a' | 'c' | 'd' | 'D' | 'e' | 'f' | 'h' | 'H' | 'n' | 'N' | 'o' | 'p' | 'P' | 'r' | 's' | 'S'
            | 't' | 'v' | 'V' | 'w' | 'W' | 'x' | '0' => self.one(source),
            other if other.is_ascii_alphanumeric() => return None,
            other if !other.is_ascii() && !self.modes.unicode => {
                // A backslash before the first of several bytes: too odd to be worth reading.
                return None;
            }
            _ => self.one(source),
        })
    }

    /// What begins with a parenthesis.
    fn group(&mut self) -> Option<Option<Node>> {
        if self.rest.starts_with("(*") {
            return self.verb().map(Some);
        }
        if !self.take("(?") {
            self.rest = &self.rest[1..];
            self.captures += 1;
            return self.inside().map(Some);
        }
        let around = |inner, behind, negative| Node::Around {
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
            self.foreign = true;
            Node::ForeignGroup(Box::new(self.inside()?))
        } else if self.take("P=") {
            self.until(")")?;
            self.foreign(Foreign::Backreference(0))
        } else if self.take("P>") || self.take("&") {
            self.until(")")?;
            self.foreign(Foreign::Recursion)
        } else if self.take("P<") || self.take("<") {
            self.until(">")?;
            self.captures += 1;
            self.inside()?
        } else if self.take("'") {
            self.until("'")?;
            self.captures += 1;
            self.inside()?
        } else if self.take("C") {
            // Its text may contain a parenthesis.
            if !self.rest.starts_with(|c: char| c.is_ascii_digit() || c == ')') {
                return None;
            }
            self.until(")")?;
            self.foreign(Foreign::Free)
        } else if self.take("(") {
            self.condition()?
        } else if self
            .rest
            .starts_with(|c: char| c == 'R' || c.is_ascii_digit() || c == '+')
            || (self.rest.starts_with('-') && self.rest[1..].starts_with(|c: char| c.is_ascii_digit()))
        {
            self.until(")")?;
            self.foreign(Foreign::Recursion)
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
        self.foreign = true;
        let asked = if self.rest.starts_with(['?', '*']) {
            // An assertion: give it its parenthesis back. What is in front of it was read, so it is there.
            let before = self.rest;
            let whole = format!("({before}");
            let mut inner = Parser {
                rest: &whole,
                modes: self.modes,
                depth: self.depth + 1,
                captures: self.captures,
                foreign: true,
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
        Some(Node::ForeignGroup(Box::new(Node::Sequence(vec![
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
                    // White space in classes is layout, too.
                    self.foreign = true;
                    self.rest = &self.rest[1..];
                    modes.extended = on;
                }
                'x' => modes.extended = on,
                'U' => modes.ungreedy = on,
                'n' | 'J' => {}
                // They change what classes mean.
                'a' | 'D' | 'S' | 'W' | 'P' | 'T' | 'r' => self.foreign = true,
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
        self.foreign = true;
        let name = self
            .rest
            .bytes()
            .take_while(|b| b.is_ascii_alphabetic() || *b == b'_')
            .count();
        let (name, rest) = self.rest.split_at(name);
        if name.bytes().any(|b| b.is_ascii_lowercase()) && rest.starts_with(':') {
            self.rest = &rest[1..];
            // `(*scan_substring:` and what future versions bring are not known.
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
            return Some(Node::ForeignGroup(Box::new(self.inside()?)));
        }
        self.until(")")?;
        self.separable = false;
        Some(Node::Foreign(Foreign::Free))
    }
}

/// A literal character as a pattern.
fn escaped(c: char) -> String {
    if c.is_ascii_punctuation() {
        format!("\\{c}")
    } else {
        c.to_string()
    }
}

/// How long the `[:alpha:]` is that `rest` begins with; without a name and its end, `[` stands for itself.
pub(super) fn named_class(rest: &str) -> Option<usize> {
    let name = rest.strip_prefix("[:")?;
    let name = name.strip_prefix('^').unwrap_or(name);
    let after = name
        .trim_start_matches(|c: char| c.is_ascii_lowercase())
        .strip_prefix(":]")?;
    Some(rest.len() - after.len())
}

/// `{2}`, `{2,}`, `{2,3}` at the start of `rest`, and how long it is.
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
