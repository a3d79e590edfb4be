//! Compiles the structure of a pattern to a program.

use std::collections::HashMap;

use super::program::{Class, Program, Step};
use super::shape::{Empty, Looks, fixed_length};
use crate::regex::node::{Greed, Node, One, Parsed, Position};

/// Programs of more steps are not made.
const MAX_STEPS: usize = 4000;
/// About how many different classes PCRE2 is asked, at most.
const MAX_CLASSES: usize = 64;

struct Compiler {
    program: Program,
    known: HashMap<One, u16>,
    asked: usize,
    /// So many looks are left.
    looks: Looks,
}

/// `None` if the pattern has parts that only PCRE2 understands, or is too large.
pub(super) fn compile(parsed: &Parsed, unicode: bool, anchored: bool) -> Option<Program> {
    if parsed.pcre_only {
        return None;
    }
    let mut compiler = Compiler {
        program: Program {
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
        looks: Looks::default(),
    };
    compiler.node(&parsed.root)?;
    compiler.push(Step::Match)?;
    Some(compiler.program)
}

impl Compiler {
    fn here(&self) -> Option<u32> {
        u32::try_from(self.program.steps.len()).ok()
    }

    fn push(&mut self, step: Step) -> Option<usize> {
        let place = self.program.steps.len();
        if place >= MAX_STEPS {
            return None;
        }
        self.program.steps.push(step);
        Some(place)
    }

    fn node(&mut self, node: &Node) -> Option<()> {
        self.looks.take(1)?;
        match node {
            Node::Empty => {}
            Node::One(one) => {
                let class = self.class(one)?;
                self.push(Step::One(class))?;
            }
            Node::Sequence(items) => items.iter().try_for_each(|item| self.node(item))?,
            Node::Alternatives(branches) => {
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
                    self.program.steps[split] = self.split(first, self.here()?);
                }
                let end = self.here()?;
                for place in ends {
                    self.program.steps[place] = Step::Jump(end);
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
            Node::Lookaround {
                inner,
                behind: false,
                negative,
            } => {
                let place = self.push(Step::Match)?;
                self.node(inner)?;
                self.push(Step::Match)?;
                self.program.steps[place] = Step::Ahead {
                    negative: *negative,
                    next: self.here()?,
                };
            }
            Node::Lookaround { inner, negative, .. } => self.behind(inner, *negative)?,
            Node::At(position) => {
                if matches!(position, Position::WordBoundary | Position::NoWordBoundary)
                    && self.program.word.is_none()
                {
                    let word = One {
                        source: "\\w".into(),
                        caseless: false,
                        dot_all: false,
                    };
                    self.program.word = Some(self.class(&word)?);
                }
                self.push(Step::At(*position))?;
            }
            Node::PcreOnly(_) | Node::PcreOnlyGroup(_) => return None,
        }
        Some(())
    }

    fn repeat(&mut self, inner: &Node, min: u32, max: Option<u32>, greedy: bool) -> Option<()> {
        for _ in 0..min {
            self.node(inner)?;
            // A part without steps would otherwise be repeated without reaching the limit of steps.
            self.push(Step::Jump(self.here()? + 1))?;
        }
        let Some(max) = max else {
            let place = self.push(Step::Match)?;
            let on = self.here()?;
            self.node(inner)?;
            self.push(Step::Jump(u32::try_from(place).ok()?))?;
            let out = self.here()?;
            self.program.steps[place] = self.choice(greedy, on, out);
            return Some(());
        };
        let mut splits = Vec::new();
        for _ in min..max {
            splits.push((self.push(Step::Match)?, self.here()?));
            self.node(inner)?;
        }
        let end = self.here()?;
        for (place, on) in splits {
            self.program.steps[place] = self.choice(greedy, on, end);
        }
        Some(())
    }

    const fn split(&mut self, first: u32, second: u32) -> Step {
        self.program.splits += 1;
        Step::Split(first, second, self.program.splits - 1)
    }

    const fn choice(&mut self, greedy: bool, on: u32, out: u32) -> Step {
        if greedy {
            self.split(on, out)
        } else {
            self.split(out, on)
        }
    }

    /// Makes a step around a part that is not tried in other ways once it matched. So the order of its ways matters; `None` if
    /// something is repeated in it that can match the empty text, for which PCRE2 has an order of its own.
    fn atomic(&mut self, inner: &Node, make: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        if Empty::of(inner, &mut self.looks)?.is_repeated {
            return None;
        }
        let place = self.push(Step::Match)?;
        make(self)?;
        self.push(Step::Match)?;
        self.program.steps[place] = Step::Atomic { next: self.here()? };
        Some(())
    }

    fn behind(&mut self, inner: &Node, negative: bool) -> Option<()> {
        let branches = match inner {
            Node::Alternatives(branches) => branches.as_slice(),
            other => std::slice::from_ref(other),
        };
        // PCRE2 has rules of its own for alternatives that differ in length.
        let length = fixed_length(inner, &mut self.looks)?;
        let place = self.push(Step::Match)?;
        let mut parts = Vec::new();
        for branch in branches {
            parts.push((length, self.here()?));
            self.node(branch)?;
            self.push(Step::Match)?;
        }
        let first = u32::try_from(self.program.behind.len()).ok()?;
        self.program.behind.append(&mut parts);
        self.program.steps[place] = Step::Behind {
            negative,
            first,
            count: u32::try_from(branches.len()).ok()?,
            next: self.here()?,
        };
        Some(())
    }

    fn class(&mut self, one: &One) -> Option<u16> {
        self.looks.take(one.source.len() / 64)?;
        if let Some(known) = self.known.get(one) {
            return Some(*known);
        }
        let class = match Class::literal(one, self.program.unicode) {
            Some(class) => class,
            None => {
                self.asked += 1;
                if self.asked > MAX_CLASSES {
                    return None;
                }
                Class::ask(one, self.program.unicode)?
            }
        };
        let place = u16::try_from(self.program.classes.len()).ok()?;
        self.program.classes.push(class);
        self.known.insert(one.clone(), place);
        Some(place)
    }
}
