//! Reads the two images of an update: the second beside the first, of which it usually is a copy but for a few columns.

use std::sync::{Arc, OnceLock};

use serde::Deserialize as _;
use serde_json::value::RawValue;

use super::layout::Layout;
use super::{Cell, Image, Row};
use crate::json;

/// Reads an image as [`Row::read`] does, if it has the columns of `other`, in the same order, without spaces between them, as PostgreSQL
/// writes rows. What both have in common was checked when `other` was read. `None`: read it as one that stands alone.
pub(super) fn read(text: &str, other: &Row) -> Option<Row> {
    let Image {
        text: known,
        layout,
        cells,
    } = &*other.0;
    if known.is_empty() || text.contains("\\u") {
        return None;
    }
    let mut own = Vec::with_capacity(cells.len());
    // Where the texts of the column begin: the comma (or brace), name, colon and value.
    let (mut at, mut known_at) = (0, 0);
    for cell in cells {
        let (name, known_end) = (&known[known_at..cell.at], cell.at + cell.length);
        let rest = text.get(at..)?.strip_prefix(name)?;
        let value = &known[cell.at..known_end];
        let length = match rest.strip_prefix(value) {
            Some(after) if after.starts_with([',', '}']) => value.len(),
            _ => value_length(rest)?,
        };
        own.push(Cell {
            at: at + name.len(),
            length,
            value: OnceLock::new(),
        });
        at += name.len() + length;
        known_at = known_end;
    }
    (text.get(at..)? == "}").then(|| image(text, layout, own))
}

fn image(text: &str, layout: &Arc<Layout>, cells: Vec<Cell>) -> Row {
    Row(Arc::new(Image {
        text: text.into(),
        layout: Arc::clone(layout),
        cells,
    }))
}

/// The length of the value that a text begins with. `None` if there is none, or it may be nested too deep.
fn value_length(text: &str) -> Option<usize> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = <&RawValue>::deserialize(&mut reader).ok()?.get();
    let brackets = value.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    // The whole row is one level more.
    (text.starts_with(value) && brackets < json::DEEPEST).then_some(value.len())
}
