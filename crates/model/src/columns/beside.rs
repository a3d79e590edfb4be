//! Reads an image with the help of another of the same table that was read before: usually most columns are the same.

use serde::Deserialize as _;
use serde_json::value::RawValue;

use crate::json;

/// Where the values of the columns are in an image, which has the columns of a `known` one whose values are at these places: begin and
/// length. `None` if it has others, or another order, or spaces between them where the known one has none: then it must be read
/// alone. What both have in common was checked when the known one was read.
pub(super) fn places(
    text: &str,
    known: &str,
    values: impl ExactSizeIterator<Item = (usize, usize)>,
) -> Option<Vec<(usize, usize)>> {
    if known.is_empty() || text.contains("\\u") {
        return None;
    }
    let mut own = Vec::with_capacity(values.len());
    // Where the texts of the column begin: the comma (or brace), name, colon and value.
    let (mut at, mut known_at) = (0, 0);
    for (value_at, length) in values {
        let (name, known_end) = (&known[known_at..value_at], value_at + length);
        let rest = text.get(at..)?.strip_prefix(name)?;
        let value = &known[value_at..known_end];
        let length = match rest.strip_prefix(value) {
            Some(after) if after.starts_with([',', '}']) => value.len(),
            _ => value_length(rest)?,
        };
        own.push((at + name.len(), length));
        at += name.len() + length;
        known_at = known_end;
    }
    (text.get(at..)? == "}").then_some(own)
}

/// The length of the value that a text begins with. `None` if there is none, or it may be nested too deep.
fn value_length(text: &str) -> Option<usize> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = <&RawValue>::deserialize(&mut reader).ok()?.get();
    let brackets = value.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    // The whole row is one level more.
    (text.starts_with(value) && brackets < json::DEEPEST).then_some(value.len())
}
