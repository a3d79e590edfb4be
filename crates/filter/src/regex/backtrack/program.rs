//! The program that the backtracker runs.

use pcre2::bytes::Regex as Pcre;

use crate::regex::node::Position;

/// A step of a program.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    One(u16),
    /// Two ways to go on: the first is tried first. The last number is the split's own, from 0 on.
    Split(u32, u32, u32),
    Jump(u32),
    At(Position),
    /// The part that follows, up to its [`Step::Match`], must match here (or must not); `next` comes after it.
    Ahead {
        negative: bool,
        next: u32,
    },
    /// One of `count` parts must match before this place (or none may match); `next` comes after them. [`Program::behind`] lists
    /// the parts from `first` on.
    Behind {
        negative: bool,
        first: u32,
        count: u32,
        next: u32,
    },
    /// The part that follows, only in the way that it matches first; `next` comes after it, where that match ended.
    Atomic {
        next: u32,
    },
    Match,
}

/// The set of characters that one item matches.
#[derive(Debug)]
pub(super) struct Class {
    /// One bit for each byte. With the flag `u` only the first 128 count.
    pub(super) bytes: [u64; 4],
    /// With the flag `u`: the other characters.
    pub(super) others: Others,
}

#[derive(Debug)]
pub(super) enum Others {
    /// Only this character, or none.
    Only(Option<char>),
    /// PCRE2 is asked. The number is the cost of that in steps: PCRE2 goes through what the class lists.
    Asked(Pcre, u64),
}

/// A program for one pattern.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) steps: Vec<Step>,
    pub(super) classes: Vec<Class>,
    /// The parts of lookbehinds: how many characters before the current place each begins, and at which step.
    pub(super) behind: Vec<(u32, u32)>,
    /// How many splits there are.
    pub(super) splits: u32,
    /// The class `\w`, if the pattern has word boundaries.
    pub(super) word: Option<u16>,
    /// PHP's flag `u`: the text is read as characters, not as bytes.
    pub(super) unicode: bool,
    /// Only a match at the start of the text counts.
    pub(super) anchored: bool,
}
