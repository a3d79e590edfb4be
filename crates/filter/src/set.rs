//! The operand of `$in`, `$nin` and `$all`.

use std::hash::BuildHasher as _;
use std::sync::OnceLock;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::budget::Fuel;
use crate::compare;
use crate::number;
use crate::value::Value;

/// Lists of up to this many elements are searched one by one.
const LINEAR: usize = 8;

/// A list of values, prepared to be searched.
#[derive(Debug)]
pub(crate) struct Set {
    items: Box<[Value<'static>]>,
    /// The element with key 0, null if there is none.
    first: Value<'static>,
    index: Option<Index>,
}

/// Makes searching a long list quick.
#[derive(Debug)]
struct Index {
    /// Every element as text, for `array_intersect`. Built when the filter first meets a list, which most filters never do.
    casts: OnceLock<Texts>,
    /// The elements that a text can equal which is not numeric: other such texts, and infinity, whose text is not a number.
    words: Texts,
    has_true: bool,
    has_false: bool,
    has_null: bool,
}

impl Index {
    fn new(items: &[Value<'_>]) -> Self {
        Self {
            casts: OnceLock::new(),
            words: Texts::of(items, |item| match item {
                Value::Text(text) => number::numeric(text).is_none(),
                Value::Float(float) => float.is_infinite(),
                // The text of an integer is numeric. Operands contain no aliases.
                _ => false,
            }),
            has_true: items.iter().any(|item| matches!(item, Value::Bool(true))),
            has_false: items.iter().any(|item| matches!(item, Value::Bool(false))),
            has_null: items.iter().any(Value::is_null),
        }
    }
}

/// The elements of a list by their text. It contains only their places, so that a long list is stored once.
#[derive(Debug)]
struct Texts {
    places: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Texts {
    /// The elements for which `wanted` holds.
    fn of(items: &[Value<'_>], wanted: impl Fn(&Value<'_>) -> bool) -> Self {
        let hasher = DefaultHashBuilder::default();
        let text_at = |place: u32| items[place as usize].to_text();
        let hash_at = |place: u32| hasher.hash_one(text_at(place).as_str());
        let mut places = HashTable::with_capacity(items.iter().filter(|item| wanted(item)).count());
        // A list of 2^32 elements would be many gigabytes of JSON.
        for (place, _) in (0_u32..).zip(items).filter(|(_, item)| wanted(item)) {
            let text = text_at(place);
            let same = |other: &u32| text_at(*other).as_str() == text.as_str();
            let _ = places
                .entry(hash_at(place), same, |other| hash_at(*other))
                .or_insert(place);
        }
        Self { places, hasher }
    }

    fn has(&self, items: &[Value<'_>], text: &str) -> bool {
        let same = |place: &u32| items[*place as usize].to_text().as_str() == text;
        self.places.find(self.hasher.hash_one(text), same).is_some()
    }
}

impl Set {
    pub(crate) fn new(operand: &Value<'_>) -> Self {
        let items: Box<[_]> = operand.items().map(Value::owned).collect();
        let index = (items.len() > LINEAR).then(|| Index::new(&items));
        Self {
            items,
            first: operand.at(0).owned(),
            index,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) const fn first(&self) -> &Value<'static> {
        &self.first
    }

    /// `in_array($value, $this)`.
    pub(crate) fn has(&self, value: &Value<'_>, fuel: &mut Fuel) -> bool {
        match value {
            Value::Text(text) => {
                number::charge(text, fuel);
                if fuel.is_empty() {
                    return false;
                }
                if let Some(index) = &self.index
                    && number::numeric(text).is_none()
                {
                    fuel.spend_bytes(text.len());
                    // A text that is not numeric is not "0", so only "" is false.
                    return index.words.has(&self.items, text)
                        || (index.has_true && !text.is_empty())
                        || ((index.has_false || index.has_null) && text.is_empty());
                }
            }
            Value::Alias(alias) => return alias.any(|name| self.has(name, fuel)),
            _ => {}
        }
        // Without fuel the answer does not matter.
        self.items
            .iter()
            .any(|item| fuel.is_empty() || compare::equal(value, item, fuel))
    }

    /// `count(array_intersect($array, $this))`: how many elements of `array` are, as text, elements of this.
    pub(crate) fn count_shared(&self, array: &Value<'_>, fuel: &mut Fuel) -> usize {
        let mut count = 0;
        for value in array.items() {
            if fuel.is_empty() {
                break;
            }
            count += usize::from(match value {
                Value::Alias(alias) => alias.names().any(|name| self.has_text(name, fuel)),
                _ => self.has_text(value.to_text().as_str(), fuel),
            });
        }
        count
    }

    fn has_text(&self, text: &str, fuel: &mut Fuel) -> bool {
        fuel.spend_bytes(text.len());
        match &self.index {
            Some(index) => index
                .casts
                .get_or_init(|| {
                    fuel.spend(2 * self.items.len() as u64);
                    Texts::of(&self.items, |_| true)
                })
                .has(&self.items, text),
            None => self.items.iter().any(|item| {
                fuel.spend(1);
                item.to_text().as_str() == text
            }),
        }
    }
}
