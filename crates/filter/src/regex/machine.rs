//! A matcher that can be stopped: for searches in which PCRE2 could be lost for seconds, because nothing ends one of its
//! matches from outside.
//!
//! It only says whether there is a match. It tries what PCRE2 tries, in the same order, but no place of the pattern twice
//! at the same place of the text, so its time is linear in the text; every step is paid for. What single characters mean (`\w`,
//! `[^é]`, `.`, any case) is not known here: PCRE2 is asked, a character at a time.

use std::collections::HashMap;

use pcre2::bytes::{Regex as Pcre, RegexBuilder};

use super::super::budget::Fuel;
use super::parse::{Greed, Node, One, Parsed, Position};

/// Larger programs are not made.
const MAX_STEPS: usize = 4000;
/// Making one looks at so many parts of the pattern, one more for every 64 bytes of a class: a part that is repeated is
/// looked at again, so a short pattern can have long ways.
const MAX_LOOKS: usize = 100_000;
/// PCRE2 is asked about so many different classes.
const MAX_CLASSES: usize = 64;
/// So many places to come back to are kept: 8 MiB.
const MAX_STACK: usize = 1 << 20;
/// What was tried is noted in pages of 4 KiB; so many: 8 MiB.
const MAX_PAGES: usize = 2048;
const PAGE_BITS: usize = 32_768;

/// A step of a program.
#[derive(Debug, Clone, Copy)]
enum Step {
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
    /// [`Machine::behind`], from `first` on.
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
struct Class {
    /// A bit a byte; with `u` only the first 128 count.
    bytes: [u64; 4],
    /// With `u`: for the other characters.
    others: Others,
}

#[derive(Debug)]
enum Others {
    /// Only this one, or none.
    Only(Option<char>),
    /// How many steps asking takes: PCRE2 goes through what the class lists.
    Asked(Pcre, u64),
}

/// A program for one pattern.
#[derive(Debug)]
pub(super) struct Machine {
    steps: Vec<Step>,
    classes: Vec<Class>,
    behind: Vec<(u32, u32)>,
    splits: u32,
    word: Option<u16>,
    unicode: bool,
    /// Only a match at the start counts.
    anchored: bool,
}

/// It took more time or memory than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stopped;

struct Compiler {
    machine: Machine,
    known: HashMap<One, u16>,
    asked: usize,
    /// So many looks are left.
    looks: usize,
}

impl Machine {
    /// `None` where the pattern has parts that only PCRE2 knows, or is too large.
    pub(super) fn new(parsed: &Parsed, unicode: bool, anchored: bool) -> Option<Self> {
        if parsed.foreign {
            return None;
        }
        let mut compiler = Compiler {
            machine: Self {
                steps: Vec::new(),
                classes: Vec::new(),
                behind: Vec::new(),
                splits: 0,
                word: None,
                unicode,
                anchored,
            },
            known: HashMap::new(),
            asked: 0,
            looks: MAX_LOOKS,
        };
        compiler.node(&parsed.root)?;
        compiler.push(Step::Match)?;
        Some(compiler.machine)
    }

    /// Whether there is a match anywhere in `text`.
    pub(super) fn is_match(&self, text: &str, fuel: &mut Fuel) -> Result<bool, Stopped> {
        // Places are kept in 32 bits.
        if u32::try_from(text.len()).is_err() {
            return Err(Stopped);
        }
        let mut run = Run {
            machine: self,
            text,
            bytes: text.as_bytes(),
            pages: 0,
            stacked: 0,
            unpaid: 0,
            fuel,
        };
        let mut tried = Tried::default();
        let mut stack = Vec::new();
        let mut start = 0;
        loop {
            if run.from(0, start, &mut tried, &mut stack)?.is_some() {
                return Ok(true);
            }
            if self.anchored || start >= text.len() {
                return Ok(false);
            }
            start += run.width(start);
        }
    }
}

impl Compiler {
    fn here(&self) -> Option<u32> {
        u32::try_from(self.machine.steps.len()).ok()
    }

    fn push(&mut self, step: Step) -> Option<usize> {
        let place = self.machine.steps.len();
        if place >= MAX_STEPS {
            return None;
        }
        self.machine.steps.push(step);
        Some(place)
    }

    fn look(&mut self, times: usize) -> Option<()> {
        self.looks = self.looks.checked_sub(times)?;
        Some(())
    }

    fn node(&mut self, node: &Node) -> Option<()> {
        self.look(1)?;
        match node {
            Node::Empty => {}
            Node::One(one) => {
                let class = self.class(one)?;
                self.push(Step::One(class))?;
            }
            Node::Sequence(items) => items.iter().try_for_each(|item| self.node(item))?,
            Node::Either(branches) => {
                let mut ends = Vec::new();
                for (place, branch) in branches.iter().enumerate() {
                    if place + 1 == branches.len() {
                        self.node(branch)?;
                        break;
                    }
                    let split = self.push(Step::Match)?;
                    let first = self.here()?;
                    self.node(branch)?;
                    ends.push(self.push(Step::Match)?);
                    self.machine.steps[split] = self.split(first, self.here()?);
                }
                let end = self.here()?;
                for place in ends {
                    self.machine.steps[place] = Step::Jump(end);
                }
            }
            Node::Repeat {
                inner,
                min,
                max,
                greed,
            } => match greed {
                Greed::Possessive => self.atomic(node, |this| this.repeat(inner, *min, *max, true))?,
                greed => self.repeat(inner, *min, *max, *greed == Greed::Greedy)?,
            },
            Node::Atomic(inner) => self.atomic(inner, |this| this.node(inner))?,
            Node::Around {
                inner,
                behind: false,
                negative,
            } => {
                let place = self.push(Step::Match)?;
                self.node(inner)?;
                self.push(Step::Match)?;
                self.machine.steps[place] = Step::Ahead {
                    negative: *negative,
                    next: self.here()?,
                };
            }
            Node::Around { inner, negative, .. } => self.behind(inner, *negative)?,
            Node::At(position) => {
                if matches!(position, Position::WordBoundary | Position::NoWordBoundary)
                    && self.machine.word.is_none()
                {
                    let word = One {
                        source: "\\w".into(),
                        caseless: false,
                        dot_all: false,
                    };
                    self.machine.word = Some(self.class(&word)?);
                }
                self.push(Step::At(*position))?;
            }
            Node::Foreign(_) | Node::ForeignGroup(_) => return None,
        }
        Some(())
    }

    fn repeat(&mut self, inner: &Node, min: u32, max: Option<u32>, greedy: bool) -> Option<()> {
        for _ in 0..min {
            self.node(inner)?;
            // Something that makes no steps would be made without end.
            self.push(Step::Jump(self.here()? + 1))?;
        }
        let Some(max) = max else {
            let place = self.push(Step::Match)?;
            let on = self.here()?;
            self.node(inner)?;
            self.push(Step::Jump(u32::try_from(place).ok()?))?;
            let out = self.here()?;
            self.machine.steps[place] = self.choice(greedy, on, out);
            return Some(());
        };
        let mut splits = Vec::new();
        for _ in min..max {
            splits.push((self.push(Step::Match)?, self.here()?));
            self.node(inner)?;
        }
        let end = self.here()?;
        for (place, on) in splits {
            self.machine.steps[place] = self.choice(greedy, on, end);
        }
        Some(())
    }

    const fn split(&mut self, first: u32, second: u32) -> Step {
        self.machine.splits += 1;
        Step::Split(first, second, self.machine.splits - 1)
    }

    const fn choice(&mut self, greedy: bool, on: u32, out: u32) -> Step {
        if greedy {
            self.split(on, out)
        } else {
            self.split(out, on)
        }
    }

    /// In which order ways are tried matters inside. Where a repeated part may take up nothing PCRE2 has an order of
    /// its own.
    fn atomic(&mut self, inner: &Node, make: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        if self.empty(inner)?.is_repeated {
            return None;
        }
        let place = self.push(Step::Match)?;
        make(self)?;
        self.push(Step::Match)?;
        self.machine.steps[place] = Step::Atomic { next: self.here()? };
        Some(())
    }

    fn behind(&mut self, inner: &Node, negative: bool) -> Option<()> {
        let branches = match inner {
            Node::Either(branches) => branches.as_slice(),
            other => std::slice::from_ref(other),
        };
        // Where they differ in length PCRE2 has rules of its own.
        let length = self.fixed_length(inner)?;
        let place = self.push(Step::Match)?;
        let mut parts = Vec::new();
        for branch in branches {
            parts.push((length, self.here()?));
            self.node(branch)?;
            self.push(Step::Match)?;
        }
        let first = u32::try_from(self.machine.behind.len()).ok()?;
        self.machine.behind.append(&mut parts);
        self.machine.steps[place] = Step::Behind {
            negative,
            first,
            count: u32::try_from(branches.len()).ok()?,
            next: self.here()?,
        };
        Some(())
    }

    fn class(&mut self, one: &One) -> Option<u16> {
        self.look(one.source.len() / 64)?;
        if let Some(known) = self.known.get(one) {
            return Some(*known);
        }
        let class = match self.literal(one) {
            Some(class) => class,
            None => {
                self.asked += 1;
                if self.asked > MAX_CLASSES {
                    return None;
                }
                self.ask(one)?
            }
        };
        let place = u16::try_from(self.machine.classes.len()).ok()?;
        self.machine.classes.push(class);
        self.known.insert(one.clone(), place);
        Some(place)
    }

    fn empty(&mut self, node: &Node) -> Option<Empty> {
        self.look(1)?;
        let part = |can_be| Empty {
            can_be,
            is_repeated: false,
        };
        Some(match node {
            Node::One(_) => part(false),
            Node::Repeat { inner, min, .. } => {
                let inner = self.empty(inner)?;
                Empty {
                    can_be: *min == 0 || inner.can_be,
                    is_repeated: inner.is_repeated || inner.can_be,
                }
            }
            Node::Sequence(items) => items.iter().try_fold(part(true), |all, item| {
                let item = self.empty(item)?;
                Some(Empty {
                    can_be: all.can_be && item.can_be,
                    is_repeated: all.is_repeated || item.is_repeated,
                })
            })?,
            Node::Either(items) => items.iter().try_fold(part(false), |all, item| {
                let item = self.empty(item)?;
                Some(Empty {
                    can_be: all.can_be || item.can_be,
                    is_repeated: all.is_repeated || item.is_repeated,
                })
            })?,
            Node::Atomic(inner) => self.empty(inner)?,
            Node::Around { inner, .. } | Node::ForeignGroup(inner) => Empty {
                can_be: true,
                ..self.empty(inner)?
            },
            Node::Empty | Node::At(_) | Node::Foreign(_) => part(true),
        })
    }

    /// How many characters it takes up, where that is always the same.
    fn fixed_length(&mut self, node: &Node) -> Option<u32> {
        self.look(1)?;
        match node {
            Node::Empty | Node::At(_) | Node::Around { .. } => Some(0),
            Node::One(_) => Some(1),
            Node::Sequence(items) => items
                .iter()
                .try_fold(0_u32, |sum, item| sum.checked_add(self.fixed_length(item)?)),
            Node::Either(items) => {
                let mut lengths = items.iter().map(|item| self.fixed_length(item));
                let first = lengths.next()??;
                lengths.all(|length| length == Some(first)).then_some(first)
            }
            Node::Repeat { inner, min, max, .. } => {
                (*max == Some(*min)).then(|| self.fixed_length(inner)?.checked_mul(*min))?
            }
            Node::Atomic(inner) => self.fixed_length(inner),
            Node::Foreign(_) | Node::ForeignGroup(_) => None,
        }
    }

    /// A character that stands for itself and for nothing else.
    fn literal(&self, one: &One) -> Option<Class> {
        let plain = one.source.strip_prefix('\\').map_or_else(
            || (one.source != ".").then_some(one.source.as_str()),
            |rest| {
                rest.starts_with(|c: char| c.is_ascii_punctuation())
                    .then_some(rest)
            },
        )?;
        let mut chars = plain.chars();
        let (Some(c), None) = (chars.next(), chars.next()) else {
            return None;
        };
        if one.caseless && (!c.is_ascii() || c.is_ascii_alphabetic()) {
            return None;
        }
        let mut bytes = [0; 4];
        let only = if c.is_ascii() {
            set(&mut bytes, c as usize);
            None
        } else if self.machine.unicode {
            Some(c)
        } else {
            // Several bytes.
            return None;
        };
        Some(Class {
            bytes,
            others: Others::Only(only),
        })
    }

    /// PCRE2 tells which characters it matches.
    fn ask(&self, one: &One) -> Option<Class> {
        let unicode = self.machine.unicode;
        let flags = match (one.caseless, one.dot_all) {
            (false, false) => "",
            (true, false) => "(?i)",
            (false, true) => "(?s)",
            (true, true) => "(?is)",
        };
        let pcre = RegexBuilder::new()
            .ucp(unicode)
            .build(&format!("{flags}\\A(?:{})\\z", one.source))
            .ok()?;
        let mut bytes = [0; 4];
        for byte in 0..if unicode { 128_u8 } else { 255 } {
            if pcre.is_match(&[byte]).ok()? {
                set(&mut bytes, byte.into());
            }
        }
        if !unicode && pcre.is_match(&[255]).ok()? {
            set(&mut bytes, 255);
        }
        Some(Class {
            bytes,
            others: if unicode {
                Others::Asked(pcre, 30 + one.source.len() as u64 / 8)
            } else {
                Others::Only(None)
            },
        })
    }
}

const fn set(bytes: &mut [u64; 4], place: usize) {
    bytes[place / 64] |= 1 << (place % 64);
}

/// What a part has to do with matching nothing.
#[derive(Debug, Clone, Copy)]
struct Empty {
    /// It can match nothing.
    can_be: bool,
    /// Something is repeated in it that can.
    is_repeated: bool,
}

/// Which splits were tried at which places: they need not be tried again, since whether they lead to a match depends on
/// nothing else. Between two splits a program has no loop.
#[derive(Default)]
struct Tried {
    pages: Vec<Option<Box<[u64; PAGE_BITS / 64]>>>,
}

impl Tried {
    /// Whether this is the first time.
    fn first(&mut self, split: u32, place: usize, run: &mut Run<'_, '_>) -> Result<bool, Stopped> {
        let splits = run.machine.splits as usize;
        if self.pages.is_empty() {
            let pages = splits.saturating_mul(run.bytes.len() + 1) / PAGE_BITS + 1;
            // The table of pages itself.
            if pages > MAX_PAGES * 64 {
                return Err(Stopped);
            }
            run.pay(10 + pages as u64 / 16)?;
            self.pages = vec![None; pages];
        }
        let bit = place * splits + split as usize;
        let page = match &mut self.pages[bit / PAGE_BITS] {
            Some(page) => page,
            none => {
                run.pages += 1;
                if run.pages > MAX_PAGES {
                    return Err(Stopped);
                }
                run.pay(60)?;
                none.insert(Box::new([0; PAGE_BITS / 64]))
            }
        };
        let word = &mut page[bit % PAGE_BITS / 64];
        let mask = 1 << (bit % 64);
        let first = *word & mask == 0;
        *word |= mask;
        Ok(first)
    }
}

struct Run<'r, 'f> {
    machine: &'r Machine,
    text: &'r str,
    bytes: &'r [u8],
    /// Pages of all [`Tried`] that exist.
    pages: usize,
    /// Places to come back to of the parts around this one.
    stacked: usize,
    unpaid: u64,
    fuel: &'f mut Fuel,
}

impl Run<'_, '_> {
    fn pay(&mut self, steps: u64) -> Result<(), Stopped> {
        self.unpaid += steps;
        if self.unpaid >= 256 {
            self.fuel.spend(std::mem::take(&mut self.unpaid));
            if self.fuel.is_empty() {
                return Err(Stopped);
            }
        }
        Ok(())
    }

    /// How long the character at `place` is.
    fn width(&self, place: usize) -> usize {
        match self.bytes.get(place) {
            Some(byte) if self.machine.unicode => match byte {
                ..0xc0 => 1,
                0xc0..0xe0 => 2,
                0xe0..0xf0 => 3,
                _ => 4,
            },
            _ => 1,
        }
    }

    /// The start of the character before `place`.
    fn before(&self, place: usize) -> Option<usize> {
        let mut start = place.checked_sub(1)?;
        while self.machine.unicode && !self.text.is_char_boundary(start) {
            start -= 1;
        }
        Some(start)
    }

    /// Where the character at `place` ends, if it is one of the class.
    fn one(&mut self, class: u16, place: usize) -> Result<Option<usize>, Stopped> {
        let Some(&byte) = self.bytes.get(place) else {
            return Ok(None);
        };
        let class = &self.machine.classes[usize::from(class)];
        if !self.machine.unicode || byte < 128 {
            let has = class.bytes[usize::from(byte) / 64] >> (byte % 64) & 1 == 1;
            return Ok(has.then_some(place + 1));
        }
        let end = place + self.width(place);
        let has = match &class.others {
            Others::Only(only) => only.is_some_and(|c| self.text[place..].starts_with(c)),
            Others::Asked(pcre, steps) => {
                self.pay(*steps)?;
                pcre.is_match(&self.bytes[place..end]).unwrap_or(false)
            }
        };
        Ok(has.then_some(end))
    }

    fn is_word(&mut self, place: Option<usize>) -> Result<bool, Stopped> {
        match (place, self.machine.word) {
            (Some(place), Some(word)) => Ok(self.one(word, place)?.is_some()),
            _ => Ok(false),
        }
    }

    fn at(&mut self, position: Position, place: usize) -> Result<bool, Stopped> {
        let end = self.bytes.len();
        let line_end = |place: usize| self.bytes.get(place) == Some(&b'\n');
        Ok(match position {
            Position::Start => place == 0,
            Position::LineStart => place == 0 || (place < end && line_end(place - 1)),
            Position::End => place == end || (place + 1 == end && line_end(place)),
            Position::LineEnd => place == end || line_end(place),
            Position::VeryEnd => place == end,
            Position::WordBoundary | Position::NoWordBoundary => {
                let boundary = self.is_word(self.before(place))? != self.is_word(Some(place))?;
                boundary == (position == Position::WordBoundary)
            }
        })
    }

    /// Whether the part that begins at `step` matches at `place`, and where it ends then.
    fn part(&mut self, step: u32, place: usize) -> Result<Option<usize>, Stopped> {
        let pages = self.pages;
        let end = self.from(step, place, &mut Tried::default(), &mut Vec::new());
        // They are given back.
        self.pages = pages;
        end
    }

    fn from(
        &mut self,
        step: u32,
        place: usize,
        tried: &mut Tried,
        stack: &mut Vec<(u32, u32)>,
    ) -> Result<Option<usize>, Stopped> {
        let (mut step, mut place) = (step, place);
        // Parts of a part have stacks of their own; together they are bounded.
        let around = self.stacked;
        stack.clear();
        loop {
            self.pay(1)?;
            let next = match self.machine.steps[step as usize] {
                Step::One(class) => self.one(class, place)?.map(|end| (step + 1, end)),
                Step::Split(first, second, split) => {
                    if tried.first(split, place, self)? {
                        if around + stack.len() >= MAX_STACK {
                            return Err(Stopped);
                        }
                        stack.push((second, u32::try_from(place).map_err(|_| Stopped)?));
                        Some((first, place))
                    } else {
                        None
                    }
                }
                Step::Jump(next) => Some((next, place)),
                Step::At(position) => self.at(position, place)?.then_some((step + 1, place)),
                Step::Match => return Ok(Some(place)),
                inside => {
                    self.stacked = around + stack.len();
                    let next = self.inside(inside, step, place)?;
                    self.stacked = around;
                    next
                }
            };
            match next.or_else(|| stack.pop().map(|(step, place)| (step, place as usize))) {
                Some((next, at)) => (step, place) = (next, at),
                None => return Ok(None),
            }
        }
    }

    /// The steps that have a part inside.
    fn inside(&mut self, what: Step, step: u32, place: usize) -> Result<Option<(u32, usize)>, Stopped> {
        Ok(match what {
            Step::Ahead { negative, next } => {
                (self.part(step + 1, place)?.is_some() != negative).then_some((next, place))
            }
            Step::Atomic { next } => self.part(step + 1, place)?.map(|end| (next, end)),
            Step::Behind {
                negative,
                first,
                count,
                next,
            } => {
                let mut found = false;
                for part in first..first + count {
                    let (length, start) = self.machine.behind[part as usize];
                    let mut from = Some(place);
                    for _ in 0..length {
                        self.pay(1)?;
                        from = from.and_then(|from| self.before(from));
                    }
                    if let Some(from) = from
                        && self.part(start, from)?.is_some()
                    {
                        found = true;
                        break;
                    }
                }
                (found != negative).then_some((next, place))
            }
            _ => None,
        })
    }
}
