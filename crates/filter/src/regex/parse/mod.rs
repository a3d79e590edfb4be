//! Reads the structure of a pattern.
//!
//! Only patterns that PCRE2 has compiled are read here. A pattern that is not understood gives `None`, and its cost then counts
//! as unknown. No pattern is ever taken for a cheaper one.

mod class;
mod escape;
mod group;
mod parser;
mod sequence;

use super::node::{Modes, Node, Parsed, PcreOnly};

use self::parser::Parser;

pub(super) use self::class::named_class;

/// The structure of `pattern`; `None` if it is not understood.
pub(super) fn parse(pattern: &str, modes: Modes) -> Option<Parsed> {
    let mut parser = Parser::new(pattern, modes);
    let mut root = parser.alternatives()?;
    refer(&mut root, parser.captures);
    parser.rest.is_empty().then_some(Parsed {
        root,
        separable: parser.separable,
        captures: parser.captures,
        pcre_only: parser.pcre_only,
    })
}

/// Tells backreferences how many groups there are, which may come after them.
fn refer(node: &mut Node, captures: u32) {
    match node {
        Node::PcreOnly(PcreOnly::Backreference(groups)) => *groups = captures,
        Node::Sequence(items) | Node::Alternatives(items) => {
            items.iter_mut().for_each(|item| refer(item, captures))
        }
        Node::Repeat { inner, .. }
        | Node::Atomic(inner)
        | Node::Lookaround { inner, .. }
        | Node::PcreOnlyGroup(inner) => refer(inner, captures),
        Node::Empty | Node::One(_) | Node::At(_) | Node::PcreOnly(_) => {}
    }
}
