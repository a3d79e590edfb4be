//! Runs a program on a text: a backtracking search that visits no split twice at the same place of the text.

use super::program::{Others, Program, Step};
use crate::budget::Fuel;
use crate::regex::node::Position;

/// How many places to come back to are kept, at most (8 MiB).
const MAX_STACK: usize = 1 << 20;
/// How many pages of [`Visited`] exist, at most (8 MiB).
const MAX_PAGES: usize = 2048;
/// The size of a page of [`Visited`] (4 KiB).
const PAGE_BITS: usize = 32_768;

/// The search needs more time or memory than it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::regex) struct Stopped;

/// Whether there is a match anywhere in `text`.
pub(super) fn is_match(program: &Program, text: &str, fuel: &mut Fuel) -> Result<bool, Stopped> {
    // Places are stored as 32 bits.
    if u32::try_from(text.len()).is_err() {
        return Err(Stopped);
    }
    let mut run = Run {
        program,
        text,
        bytes: text.as_bytes(),
        pages: 0,
        stacked: 0,
        uncharged: 0,
        fuel,
    };
    let mut visited = Visited::default();
    let mut stack = Vec::new();
    let mut start = 0;
    loop {
        if run.from(0, start, &mut visited, &mut stack)?.is_some() {
            return Ok(true);
        }
        if program.anchored || start >= text.len() {
            return Ok(false);
        }
        start += run.width(start);
    }
}

/// Which splits were visited at which places of the text.
///
/// Whether a split leads to a match depends on nothing but the place, so a second visit would find nothing new. Every loop of a
/// program contains a split, so this also ends every loop.
#[derive(Default)]
struct Visited {
    pages: Vec<Option<Box<[u64; PAGE_BITS / 64]>>>,
}

impl Visited {
    /// Notes a visit; true if it is the first one.
    fn first(&mut self, split: u32, place: usize, run: &mut Run<'_, '_>) -> Result<bool, Stopped> {
        let splits = run.program.splits as usize;
        if self.pages.is_empty() {
            let pages = splits.saturating_mul(run.bytes.len() + 1) / PAGE_BITS + 1;
            // The table of pages has a limit, too.
            if pages > MAX_PAGES * 64 {
                return Err(Stopped);
            }
            run.charge(10 + pages as u64 / 16)?;
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
                run.charge(60)?;
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
    program: &'r Program,
    text: &'r str,
    bytes: &'r [u8],
    /// How many pages all [`Visited`] together have now.
    pages: usize,
    /// How many places to come back to the parts around the current one keep.
    stacked: usize,
    /// Steps that are not yet charged to `fuel`.
    uncharged: u64,
    fuel: &'f mut Fuel,
}

impl Run<'_, '_> {
    /// Charges `steps`, in portions.
    fn charge(&mut self, steps: u64) -> Result<(), Stopped> {
        self.uncharged += steps;
        if self.uncharged >= 256 {
            self.fuel.spend(std::mem::take(&mut self.uncharged));
            if self.fuel.is_empty() {
                return Err(Stopped);
            }
        }
        Ok(())
    }

    /// The length in bytes of the character at `place`.
    fn width(&self, place: usize) -> usize {
        match self.bytes.get(place) {
            Some(byte) if self.program.unicode => match byte {
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
        while self.program.unicode && !self.text.is_char_boundary(start) {
            start -= 1;
        }
        Some(start)
    }

    /// The end of the character at `place` if the class contains it.
    fn one(&mut self, class: u16, place: usize) -> Result<Option<usize>, Stopped> {
        let Some(&byte) = self.bytes.get(place) else {
            return Ok(None);
        };
        let class = &self.program.classes[usize::from(class)];
        if !self.program.unicode || byte < 128 {
            let has = class.bytes[usize::from(byte) / 64] >> (byte % 64) & 1 == 1;
            return Ok(has.then_some(place + 1));
        }
        let end = place + self.width(place);
        let has = match &class.others {
            Others::Only(only) => only.is_some_and(|c| self.text[place..].starts_with(c)),
            Others::Asked(pcre, steps) => {
                self.charge(*steps)?;
                pcre.is_match(&self.bytes[place..end]).unwrap_or(false)
            }
        };
        Ok(has.then_some(end))
    }

    fn is_word(&mut self, place: Option<usize>) -> Result<bool, Stopped> {
        match (place, self.program.word) {
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

    /// Where the match of the part that begins at `step` ends, if it matches at `place`. Other parts around it are not continued.
    fn part(&mut self, step: u32, place: usize) -> Result<Option<usize>, Stopped> {
        let pages = self.pages;
        let end = self.from(step, place, &mut Visited::default(), &mut Vec::new());
        // Its pages are freed now.
        self.pages = pages;
        end
    }

    /// Runs the program from `step` at `place` up to its [`Step::Match`]; gives the place reached there.
    fn from(
        &mut self,
        step: u32,
        place: usize,
        visited: &mut Visited,
        stack: &mut Vec<(u32, u32)>,
    ) -> Result<Option<usize>, Stopped> {
        let (mut step, mut place) = (step, place);
        // Each part inside has a stack of its own; the limit is for all stacks together.
        let around = self.stacked;
        stack.clear();
        loop {
            self.charge(1)?;
            let next = match self.program.steps[step as usize] {
                Step::One(class) => self.one(class, place)?.map(|end| (step + 1, end)),
                Step::Split(first, second, split) => {
                    if visited.first(split, place, self)? {
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

    /// Runs a step that contains a part; gives the next step and place.
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
                    let (length, start) = self.program.behind[part as usize];
                    let mut from = Some(place);
                    for _ in 0..length {
                        self.charge(1)?;
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
