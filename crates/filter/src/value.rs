//! JSON values as PHP decodes them, built to be compared often: numbers are parsed once, texts are borrowed.

use std::borrow::Cow;

use serde_json::Value as Json;

use crate::number::{self, ShortText};

/// How many levels a filter, or a document given as JSON, may be nested; deeper ones are refused. Everything that walks values
/// recurses, so this bounds the stack.
pub const MAX_DEPTH: usize = 128;
/// The same for the state of an entity, which may be nested as deep as a row that is read from Nextcloud's tables.
const STATE_DEPTH: usize = orw_model::json::DEEPEST + orw_model::json::AROUND;

/// A value is nested deeper than this many levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nested deeper than {0} levels")]
pub struct TooDeep(usize);

/// A value of a document or of a filter's operand.
///
/// [`List`](Self::List) and [`Map`](Self::Map) are both PHP arrays: `{"0": 1}` equals `[1]`, `{}` equals `[]`.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Map(Map<'a>),
    /// A reference that may be written in several ways.
    Alias(Box<Alias<'a>>),
}

/// A reference to a register or schema, which a filter may name by its slug, its uuid or its id.
///
/// * It is equal to an operand (literally, `$e`, `$in`, `$all`, inside arrays) when one of its names is; `$ne` and `$nin` are
///   the opposite. A regular expression matches it when it matches one of the names.
/// * The numeric id equals the number and the same digits as text.
/// * Compared (`$gt` …) or divided (`$mod`) with a number it is its id, with anything else its first name.
/// * To everything else (`$exists`, paths that go on below it) it is its first name.
#[derive(Debug, Clone)]
pub struct Alias<'a> {
    /// Never empty. Payloads show the first one. The id as text is among them.
    names: Vec<Cow<'a, str>>,
    id: Option<i64>,
}

impl<'a> Alias<'a> {
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }

    pub(crate) fn first(&self) -> &str {
        self.names.first().map_or("", AsRef::as_ref)
    }

    pub(crate) const fn id(&self) -> Option<i64> {
        self.id
    }

    /// The value that stands for the reference in a comparison with `other`.
    pub(crate) fn beside(&self, other: &Value<'_>) -> Value<'_> {
        match (other, self.id) {
            (Value::Int(_) | Value::Float(_), Some(id)) => Value::Int(id),
            _ => Value::Text(Cow::Borrowed(self.first())),
        }
    }

    /// Whether `test` holds for one of the names, or for the id.
    pub(crate) fn any(&self, mut test: impl FnMut(&Value<'_>) -> bool) -> bool {
        self.names().any(|name| test(&Value::Text(Cow::Borrowed(name))))
            || self.id.is_some_and(|id| test(&Value::Int(id)))
    }
}

/// The keys and values of an object, in their order.
#[derive(Debug, Clone, Default)]
pub struct Map<'a> {
    entries: Vec<(Cow<'a, str>, Value<'a>)>,
    /// The places of the entries sorted by key, if there are too many for a linear search.
    sorted: Option<Box<[u32]>>,
    /// Whether `isset($map[0])`, in which case PHPMongoQuery takes the map for a list.
    zero_is_set: bool,
}

/// Maps of up to this many entries are searched linearly.
const LINEAR: usize = 24;

impl<'a> Map<'a> {
    /// A map of these entries. The keys must differ.
    fn new(entries: Vec<(Cow<'a, str>, Value<'a>)>) -> Self {
        let sorted = (entries.len() > LINEAR).then(|| {
            // No document has 2^32 entries, which would be many gigabytes of JSON.
            let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
            let mut places: Vec<u32> = (0..count).collect();
            places.sort_unstable_by(|&a, &b| entries[a as usize].0.cmp(&entries[b as usize].0));
            places.into_boxed_slice()
        });
        let zero_is_set = entries
            .iter()
            .any(|(key, value)| key == "0" && !matches!(value, Value::Null));
        Self {
            entries,
            sorted,
            zero_is_set,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value<'a>> {
        match &self.sorted {
            None => self
                .entries
                .iter()
                .find(|(k, _)| k.as_ref() == key)
                .map(|(_, value)| value),
            Some(sorted) => sorted
                .binary_search_by(|&place| self.entries[place as usize].0.as_ref().cmp(key))
                .ok()
                .map(|found| &self.entries[sorted[found] as usize].1),
        }
    }

    pub(crate) fn entries(&self) -> &[(Cow<'a, str>, Value<'a>)] {
        &self.entries
    }

    pub(crate) const fn zero_is_set(&self) -> bool {
        self.zero_is_set
    }
}

impl<'a> Value<'a> {
    /// The value of `json`, whose texts it borrows.
    ///
    /// # Errors
    /// If it is nested deeper than [`MAX_DEPTH`].
    pub fn from_json(json: &'a Json) -> Result<Self, TooDeep> {
        Self::at_depth(json, 0, MAX_DEPTH)
    }

    /// The value of `json`, which is a part of the state of an entity.
    ///
    /// # Errors
    /// If it is nested deeper than what is read from Nextcloud's tables.
    pub fn from_state(json: &'a Json) -> Result<Self, TooDeep> {
        Self::at_depth(json, 0, STATE_DEPTH)
    }

    fn at_depth(json: &'a Json, depth: usize, most: usize) -> Result<Self, TooDeep> {
        if depth > most {
            return Err(TooDeep(most));
        }
        Ok(match json {
            Json::Null => Self::Null,
            Json::Bool(b) => Self::Bool(*b),
            Json::Number(n) => Self::from_number(n.as_str()),
            Json::String(s) => Self::Text(Cow::Borrowed(s)),
            Json::Array(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.push(Self::at_depth(item, depth + 1, most)?);
                }
                Self::List(list)
            }
            Json::Object(fields) => {
                let mut entries = Vec::with_capacity(fields.len());
                for (key, value) in fields {
                    let value = Self::at_depth(value, depth + 1, most)?;
                    entries.push((Cow::Borrowed(key.as_str()), value));
                }
                Self::Map(Map::new(entries))
            }
        })
    }

    /// Reads a number as `json_decode` does: as an integer if it has neither point nor exponent and fits into 64 bits.
    fn from_number(written: &str) -> Self {
        if !written.bytes().any(|b| matches!(b, b'.' | b'e' | b'E'))
            && let Ok(i) = written.parse()
        {
            return Self::Int(i);
        }
        // Rust reads every number that JSON allows; too large ones become infinite, as in PHP.
        Self::Float(written.parse().unwrap_or(0.0))
    }

    /// Text, borrowed or owned.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    /// An object with these entries. Of two entries with the same key the last one counts.
    pub fn map<K: Into<Cow<'a, str>>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        let mut kept: Vec<(Cow<'a, str>, Self)> = Vec::new();
        for (key, value) in entries {
            let key = key.into();
            match kept.iter_mut().find(|(k, _)| *k == key) {
                Some((_, old)) => *old = value,
                None => kept.push((key, value)),
            }
        }
        Self::Map(Map::new(kept))
    }

    /// A reference with these `names` and this `id`. Payloads show the first name; empty names are ignored. Null if there is neither
    /// a name nor an id.
    pub fn alias<N: Into<Cow<'a, str>>>(names: impl IntoIterator<Item = N>, id: Option<i64>) -> Self {
        let mut kept: Vec<Cow<'a, str>> = Vec::new();
        let id_text = id.map(|id| Cow::Owned(id.to_string()));
        for name in names.into_iter().map(Into::into).chain(id_text) {
            if !name.is_empty() && !kept.contains(&name) {
                kept.push(name);
            }
        }
        if kept.is_empty() {
            return Self::Null;
        }
        Self::Alias(Box::new(Alias { names: kept, id }))
    }

    /// A copy that borrows nothing.
    pub(crate) fn owned(&self) -> Value<'static> {
        let own = |text: &Cow<'a, str>| Cow::Owned(text.as_ref().to_owned());
        match self {
            Self::Null => Value::Null,
            Self::Bool(b) => Value::Bool(*b),
            Self::Int(i) => Value::Int(*i),
            Self::Float(f) => Value::Float(*f),
            Self::Text(text) => Value::Text(own(text)),
            Self::List(items) => Value::List(items.iter().map(Value::owned).collect()),
            Self::Map(map) => Value::Map(Map {
                entries: map
                    .entries
                    .iter()
                    .map(|(key, value)| (own(key), value.owned()))
                    .collect(),
                sorted: map.sorted.clone(),
                zero_is_set: map.zero_is_set,
            }),
            Self::Alias(alias) => Value::Alias(Box::new(Alias {
                names: alias.names.iter().map(own).collect(),
                id: alias.id,
            })),
        }
    }

    pub(crate) const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(crate) const fn is_array(&self) -> bool {
        matches!(self, Self::List(_) | Self::Map(_))
    }

    /// PHP's `(bool)`.
    pub(crate) fn truthy(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(b) => *b,
            Self::Int(i) => *i != 0,
            Self::Float(f) => *f != 0.0,
            Self::Text(text) => text_is_truthy(text),
            Self::List(items) => !items.is_empty(),
            Self::Map(map) => !map.entries.is_empty(),
            Self::Alias(alias) => text_is_truthy(alias.first()),
        }
    }

    /// PHP's `count`; 0 for anything but an array.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::List(items) => items.len(),
            Self::Map(map) => map.entries.len(),
            _ => 0,
        }
    }

    /// The values that PHP's `foreach` visits.
    pub(crate) fn items(&self) -> Items<'_, 'a> {
        match self {
            Self::List(items) => Items::List(items.iter()),
            Self::Map(map) => Items::Map(map.entries.iter()),
            _ => Items::List([].iter()),
        }
    }

    /// PHP's `$array[$index]`; null if it is not set.
    pub(crate) fn at(&self, index: usize) -> &Self {
        let found = match self {
            Self::List(items) => items.get(index),
            Self::Map(map) => map.get(number::int_text(i64::try_from(index).unwrap_or(-1)).as_str()),
            _ => None,
        };
        found.unwrap_or(&Self::Null)
    }

    /// The name of the type in PHP's messages.
    pub(crate) const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) | Self::Alias(_) => "string",
            Self::List(_) | Self::Map(_) => "array",
        }
    }

    /// The integer that PHP's `%` makes of it; `None` for arrays, and for texts that begin with no number.
    pub(crate) fn to_integer(&self) -> Option<i64> {
        match self {
            Self::Null => Some(0),
            Self::Bool(b) => Some(i64::from(*b)),
            Self::Int(i) => Some(*i),
            Self::Float(f) => Some(number::float_to_int(*f)),
            Self::Text(text) => number::leading(text).map(|(number, _)| match number {
                number::Numeric::Int(i) => i,
                // Unlike floats, numeric strings saturate, as Rust does; but infinity is 0.
                #[expect(clippy::cast_possible_truncation, reason = "saturates")]
                number::Numeric::Float { value, .. } if value.is_finite() => value as i64,
                number::Numeric::Float { .. } => 0,
            }),
            Self::Alias(alias) => alias.id(),
            Self::List(_) | Self::Map(_) => None,
        }
    }

    /// PHP's `(string)`; `Array` for arrays.
    pub(crate) fn to_text(&self) -> Text<'_> {
        match self {
            Self::Null | Self::Bool(false) => Text::Borrowed(""),
            Self::Bool(true) => Text::Borrowed("1"),
            Self::Int(i) => Text::Number(number::int_text(*i)),
            Self::Float(f) => Text::Number(number::float_text(*f)),
            Self::Text(text) => Text::Borrowed(text),
            Self::List(_) | Self::Map(_) => Text::Borrowed("Array"),
            Self::Alias(alias) => Text::Borrowed(alias.first()),
        }
    }
}

/// PHP's `(bool)` of a string.
fn text_is_truthy(text: &str) -> bool {
    !matches!(text, "" | "0")
}

/// A value as text, without an allocation.
pub(crate) enum Text<'v> {
    Borrowed(&'v str),
    Number(ShortText),
}

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Number(text) => text.as_str(),
        }
    }
}

/// The values of an array.
pub(crate) enum Items<'v, 'a> {
    List(std::slice::Iter<'v, Value<'a>>),
    Map(std::slice::Iter<'v, (Cow<'a, str>, Value<'a>)>),
}

impl<'v, 'a> Iterator for Items<'v, 'a> {
    type Item = &'v Value<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::List(items) => items.next(),
            Self::Map(entries) => entries.next().map(|(_, value)| value),
        }
    }
}
