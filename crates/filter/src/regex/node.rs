//! The structure of a pattern, as far as it says how much work a match can be and what the backtracker has to do.

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Empty,
    /// One character.
    One(One),
    Sequence(Vec<Node>),
    Alternatives(Vec<Node>),
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
    Lookaround {
        inner: Box<Node>,
        behind: bool,
        negative: bool,
    },
    At(Position),
    /// What only PCRE2 itself evaluates.
    PcreOnly(PcreOnly),
    /// The same, with a part inside (conditions, scripts).
    PcreOnlyGroup(Box<Node>),
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
pub(super) enum PcreOnly {
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
    pub(super) pcre_only: bool,
    /// Whether it means the same where the search is made attempt by attempt: what is repeated as a whole, verbs that
    /// end the search, and `\\G` do not.
    pub(super) separable: bool,
}
