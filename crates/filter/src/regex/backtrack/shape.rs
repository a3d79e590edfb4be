//! What the compiler must know about a part of a pattern before it compiles it.

use crate::regex::node::Node;

/// How many parts of the pattern compiling may look at, at most; 64 bytes of a class count as one more part. A repeated part is
/// looked at again each time, so even a short pattern could take long.
const MAX_LOOKS: usize = 100_000;

/// How many more parts may be looked at.
#[derive(Debug)]
pub(super) struct Looks(usize);

impl Default for Looks {
    fn default() -> Self {
        Self(MAX_LOOKS)
    }
}

impl Looks {
    /// `None` if none are left.
    pub(super) fn take(&mut self, times: usize) -> Option<()> {
        self.0 = self.0.checked_sub(times)?;
        Some(())
    }
}

/// Whether a part can match the empty text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Empty {
    /// It can match the empty text.
    pub(super) can_be: bool,
    /// It contains a repetition of something that can match the empty text.
    pub(super) is_repeated: bool,
}

impl Empty {
    pub(super) fn of(node: &Node, looks: &mut Looks) -> Option<Self> {
        looks.take(1)?;
        let part = |can_be| Self {
            can_be,
            is_repeated: false,
        };
        Some(match node {
            Node::One(_) => part(false),
            Node::Repeat { inner, min, .. } => {
                let inner = Self::of(inner, looks)?;
                Self {
                    can_be: *min == 0 || inner.can_be,
                    is_repeated: inner.is_repeated || inner.can_be,
                }
            }
            Node::Sequence(items) => items.iter().try_fold(part(true), |all, item| {
                let item = Self::of(item, looks)?;
                Some(Self {
                    can_be: all.can_be && item.can_be,
                    is_repeated: all.is_repeated || item.is_repeated,
                })
            })?,
            Node::Alternatives(items) => items.iter().try_fold(part(false), |all, item| {
                let item = Self::of(item, looks)?;
                Some(Self {
                    can_be: all.can_be || item.can_be,
                    is_repeated: all.is_repeated || item.is_repeated,
                })
            })?,
            Node::Atomic(inner) => Self::of(inner, looks)?,
            Node::Lookaround { inner, .. } | Node::PcreOnlyGroup(inner) => Self {
                can_be: true,
                ..Self::of(inner, looks)?
            },
            Node::Empty | Node::At(_) | Node::PcreOnly(_) => part(true),
        })
    }
}

/// How many characters a part matches, if that is always the same number.
pub(super) fn fixed_length(node: &Node, looks: &mut Looks) -> Option<u32> {
    looks.take(1)?;
    match node {
        Node::Empty | Node::At(_) | Node::Lookaround { .. } => Some(0),
        Node::One(_) => Some(1),
        Node::Sequence(items) => items
            .iter()
            .try_fold(0_u32, |sum, item| sum.checked_add(fixed_length(item, looks)?)),
        Node::Alternatives(items) => {
            let mut lengths = items.iter().map(|item| fixed_length(item, looks));
            let first = lengths.next()??;
            lengths.all(|length| length == Some(first)).then_some(first)
        }
        Node::Repeat { inner, min, max, .. } => {
            (*max == Some(*min)).then(|| fixed_length(inner, looks)?.checked_mul(*min))?
        }
        Node::Atomic(inner) => fixed_length(inner, looks),
        Node::PcreOnly(_) | Node::PcreOnlyGroup(_) => None,
    }
}
