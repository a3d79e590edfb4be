//! What the backtracker runs.

use pcre2::bytes::Regex as Pcre;

use crate::regex::node::Position;

/// A step of a program.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    One(u16),
    /// The first is tried first. The last tells the splits apart.
    Split(u32, u32, u32),
    Jump(u32),
    At(Position),
    /// The part that follows, up to its [`Step::Match`], must match here, or must not; then `next`.
    Ahead {
        negative: bool,
        next: u32,
    },
    /// One of the parts must match that begin so many characters before. They follow as (length, start) in
    /// [`Backtracker::behind`], from `first` on.
    Behind {
        negative: bool,
        first: u32,
        count: u32,
        next: u32,
    },
    /// The part that follows, as it matches first; then `next` from there.
    Atomic {
        next: u32,
    },
    Match,
}

/// Which characters one item matches.
#[derive(Debug)]
pub(super) struct Class {
    /// A bit a byte; with `u` only the first 128 count.
    pub(super) bytes: [u64; 4],
    /// With `u`: for the other characters.
    pub(super) others: Others,
}

#[derive(Debug)]
pub(super) enum Others {
    /// Only this one, or none.
    Only(Option<char>),
    /// How many steps asking takes: PCRE2 goes through what the class lists.
    Asked(Pcre, u64),
}

/// A program for one pattern.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) steps: Vec<Step>,
    pub(super) classes: Vec<Class>,
    pub(super) behind: Vec<(u32, u32)>,
    pub(super) splits: u32,
    pub(super) word: Option<u16>,
    pub(super) unicode: bool,
    /// Only a match at the start counts.
    pub(super) anchored: bool,
}
