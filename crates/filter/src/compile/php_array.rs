//! JSON objects and lists as PHP's arrays.

use super::place::Place;
use crate::number;
use crate::value::Value;

/// A key of a PHP array.
#[derive(Clone, Copy)]
pub(super) enum Key<'k> {
    Name(&'k str),
    Index(usize),
}

impl Key<'_> {
    pub(super) fn place<'p>(&'p self, inside: &'p Place<'p>) -> Place<'p> {
        match self {
            Self::Name(name) => inside.key(name),
            Self::Index(index) => inside.index(*index),
        }
    }
}

/// The keys and values of an array; none for anything else.
pub(super) fn entries<'v>(array: &'v Value<'_>) -> Box<dyn Iterator<Item = (Key<'v>, &'v Value<'v>)> + 'v> {
    match array {
        Value::List(items) => Box::new(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| (Key::Index(index), item)),
        ),
        Value::Map(map) => Box::new(
            map.entries()
                .iter()
                .map(|(key, item)| (Key::Name(key.as_ref()), item)),
        ),
        _ => Box::new(std::iter::empty()),
    }
}

/// PHP's `array_is_list` for an array that is not empty: `{"0": …, "1": …}` is a list as well.
pub(super) fn is_list(array: &Value<'_>) -> bool {
    match array {
        Value::List(items) => !items.is_empty(),
        Value::Map(map) => {
            array.count() > 0
                && map
                    .entries()
                    .iter()
                    .enumerate()
                    .all(|(place, (key, _))| number::list_index(key) == Some(place))
        }
        _ => false,
    }
}
