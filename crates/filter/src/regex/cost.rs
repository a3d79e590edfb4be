//! An upper bound of the work that PCRE2 can have with a pattern on a text of some length.
//!
//! A backtracking search walks a tree: each part of a pattern can match in some number of ways, and the rest is tried for each
//! of them. For patterns that repeat groups, the bound is soon too large to be of use; for these there is [`super::backtrack`].

use super::node::{Node, PcreOnly, Position};

/// The cost of trying a part at one place of the text.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// In how many ways it can match.
    ways: f64,
    /// How many steps it takes to find all of them.
    work: f64,
}

/// Which steps are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All steps.
    Whole,
    /// The steps between two that PCRE2 counts towards its match limit. It counts each turn of a repeated group, and each length
    /// with which a repeated character is tried.
    BetweenCounts,
}

/// The steps of a whole search in a text of `n` bytes.
pub(super) fn whole(root: &Node, n: usize) -> f64 {
    starts(root, n) * (cost(root, length(n), Scope::Whole).work + 4.0) + length(n)
}

/// The steps of one attempt, at one place of the text.
pub(super) fn attempt(root: &Node, n: usize) -> f64 {
    cost(root, length(n), Scope::Whole).work + 4.0 + length(n)
}

/// The steps of one attempt, if PCRE2 stops it after `limit` counted steps.
pub(super) fn limited_attempt(root: &Node, n: usize, limit: u32) -> f64 {
    f64::from(limit) * (cost(root, length(n), Scope::BetweenCounts).work + 4.0) + length(n)
}

/// The steps of a whole search, if PCRE2 stops each attempt after `limit` counted steps.
pub(super) fn limited(root: &Node, n: usize, limit: u32) -> f64 {
    starts(root, n) * limited_attempt(root, n, limit)
}

#[expect(clippy::cast_precision_loss, reason = "it is an estimate")]
const fn length(n: usize) -> f64 {
    n as f64
}

/// At how many places of the text an attempt begins.
fn starts(root: &Node, n: usize) -> f64 {
    let anchored = match root {
        Node::At(Position::Start) => true,
        Node::Sequence(items) => matches!(items.first(), Some(Node::At(Position::Start))),
        _ => false,
    };
    if anchored { 1.0 } else { length(n) + 1.0 }
}

fn cost(node: &Node, n: f64, scope: Scope) -> Cost {
    let flat = |work| Cost { ways: 1.0, work };
    match node {
        Node::Empty | Node::At(_) => flat(1.0),
        // A class may be a long list of ranges.
        Node::One(one) => flat(1.0 + length(one.source.len() / 8)),
        Node::PcreOnly(pcre_only) => match pcre_only {
            PcreOnly::Free => flat(1.0),
            PcreOnly::Backreference(groups) => flat(n + 1.0 + f64::from(*groups)),
            PcreOnly::Several => flat(4.0 * (n + 2.0)),
            PcreOnly::Recursion if scope == Scope::BetweenCounts => flat(2.0),
            PcreOnly::Recursion => Cost {
                ways: f64::INFINITY,
                work: f64::INFINITY,
            },
        },
        Node::Sequence(items) => items.iter().fold(flat(1.0), |before, item| {
            let item = cost(item, n, scope);
            Cost {
                ways: before.ways * item.ways,
                work: before.ways.mul_add(item.work, before.work),
            }
        }),
        Node::Alternatives(branches) => branches
            .iter()
            .fold(Cost { ways: 0.0, work: 1.0 }, |sum, branch| {
                let branch = cost(branch, n, scope);
                Cost {
                    ways: sum.ways + branch.ways,
                    work: sum.work + branch.work + 1.0,
                }
            }),
        Node::Atomic(inner) => flat(cost(inner, n, scope).work + 1.0),
        // A lookbehind has at most 255 characters, and every length may be tried.
        Node::Lookaround { inner, behind, .. } => {
            flat(cost(inner, n, scope).work * if *behind { 256.0 } else { 1.0 } + 1.0)
        }
        Node::PcreOnlyGroup(inner) => {
            let inner = cost(inner, n, scope);
            Cost {
                ways: inner.ways + 1.0,
                work: inner.work * 256.0 + 1.0,
            }
        }
        Node::Repeat { inner, min, max, .. } => repeat(inner, f64::from(*min), max.map(f64::from), n, scope),
    }
}

fn repeat(inner: &Node, min: f64, max: Option<f64>, n: f64, scope: Scope) -> Cost {
    let once = cost(inner, n, scope);
    // Beyond the minimum, a turn that matches the empty text is the last one.
    let mut most = max.unwrap_or(f64::INFINITY).min(min.max(n + 1.0) + 1.0);
    let single = matches!(inner, Node::One(_) | Node::PcreOnly(_));
    if scope == Scope::BetweenCounts && !single {
        most = min.max(1.0);
    }
    if scope == Scope::BetweenCounts && matches!(inner, Node::One(_)) {
        return Cost {
            ways: 1.0,
            work: (most + 1.0) * (once.work + 1.0),
        };
    }
    if once.ways <= 1.0 {
        return Cost {
            ways: most - min + 1.0,
            work: (most + 1.0) * (once.work + 1.0),
        };
    }
    // An upper bound of the sum of ways^turns.
    let ways = once.ways.powf(most) * (most + 1.0);
    Cost {
        ways,
        work: ways * (once.work + 1.0),
    }
}

/// The size of PCRE2's compiled form, in items. Something repeated n times is there n times.
pub(super) fn size(node: &Node) -> f64 {
    match node {
        Node::Empty | Node::At(_) | Node::PcreOnly(_) => 1.0,
        // A class takes at least 32 bytes.
        Node::One(one) if one.source.len() > 2 => 8.0 + length(one.source.len()),
        Node::One(_) => 1.0,
        Node::Sequence(items) | Node::Alternatives(items) => items.iter().map(size).sum::<f64>() + 1.0,
        Node::Atomic(inner) | Node::Lookaround { inner, .. } | Node::PcreOnlyGroup(inner) => {
            size(inner) + 2.0
        }
        Node::Repeat { inner, .. } if matches!(**inner, Node::One(_)) => size(inner) + 1.0,
        Node::Repeat { inner, min, max, .. } => {
            (size(inner) + 2.0) * f64::from(max.unwrap_or(*min).max(*min).max(1))
        }
    }
}
