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
        /// `None`: no upper bound.
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
    /// A part that only PCRE2 can evaluate.
    PcreOnly(PcreOnly),
    /// A part that only PCRE2 can evaluate, with another part inside (conditions, script runs).
    PcreOnlyGroup(Box<Node>),
}

/// An item that matches one character.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct One {
    /// The source text: `a`, `.`, `[^x]`, `\d`.
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

/// An assertion that depends only on the characters beside its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    Start,
    LineStart,
    /// At the end of the text, or before a line end that is its last character.
    End,
    LineEnd,
    VeryEnd,
    WordBoundary,
    NoWordBoundary,
}

/// What only PCRE2 can evaluate, by its cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PcreOnly {
    /// A reference to what a group matched. It compares at most as many bytes as the text has. The number is how many groups may
    /// have its name, at most.
    Backreference(u32),
    /// `\R` and `\X`.
    Several,
    Recursion,
    /// `\K`, verbs and callouts, which cost nothing.
    Free,
}

/// The modes that change how a part of a pattern is read.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent flags")]
pub(super) struct Modes {
    pub(super) caseless: bool,
    pub(super) dot_all: bool,
    pub(super) multi_line: bool,
    pub(super) extended: bool,
    pub(super) ungreedy: bool,
    /// Otherwise each byte of a character that is not ASCII counts as a character.
    pub(super) unicode: bool,
}

/// A parsed pattern.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) root: Node,
    /// How many capturing groups it has.
    pub(super) captures: u32,
    /// Whether it has parts that only PCRE2 can evaluate.
    pub(super) pcre_only: bool,
    /// Whether the search can be made one attempt after the other. That changes the meaning of recursion into the whole
    /// pattern, of verbs that end the search, and of `\G`.
    pub(super) separable: bool,
}
