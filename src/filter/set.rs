//! The operand of `$in`, `$nin` and `$all`.

use std::collections::HashSet;
use std::sync::OnceLock;

use super::compare::{self, Fuel};
use super::number;
use super::value::Value;

/// Up to this many elements are looked at one by one.
const LINEAR: usize = 8;

/// A list of values, prepared to be searched.
#[derive(Debug)]
pub(super) struct Set {
    items: Box<[Value<'static>]>,
    /// The element with key 0, null where there is none.
    first: Value<'static>,
    index: Option<Index>,
}

/// What makes a long list quick to search.
#[derive(Debug, Default)]
struct Index {
    /// Every element as text, for `array_intersect`; made when the first list is met, which for most filters is never.
    casts: OnceLock<HashSet<Box<str>>>,
    /// What a text that is not numeric can be equal to: such texts, and infinity, which is no number as text.
    words: HashSet<Box<str>>,
    has_true: bool,
    has_false: bool,
    has_null: bool,
}

impl Set {
    pub(super) fn new(operand: &Value<'_>) -> Self {
        let items: Box<[_]> = operand.items().map(|item| item.clone().into_owned()).collect();
        let index = (items.len() > LINEAR).then(|| {
            let mut index = Index::default();
            for item in &items {
                match item {
                    Value::Null => index.has_null = true,
                    Value::Bool(true) => index.has_true = true,
                    Value::Bool(false) => index.has_false = true,
                    Value::Text(_) | Value::Float(_) => {
                        let text = item.to_text();
                        if number::numeric(text.as_str()).is_none() {
                            index.words.insert(text.as_str().into());
                        }
                    }
                    // Integers are numeric as text. Operands hold no aliases.
                    Value::Int(_) | Value::List(_) | Value::Map(_) | Value::Alias(_) => {}
                }
            }
            index
        });
        Self {
            items,
            first: operand.at(0).clone().into_owned(),
            index,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) const fn first(&self) -> &Value<'static> {
        &self.first
    }

    /// `in_array($value, $this)`.
    pub(super) fn has(&self, value: &Value<'_>, fuel: &mut Fuel) -> bool {
        match value {
            Value::Text(text) => {
                if let Some(index) = &self.index
                    && number::numeric(text).is_none()
                {
                    fuel.spend_bytes(text.len());
                    // Not being numeric, it is not "0"; so only "" is false.
                    return index.words.contains(text.as_ref())
                        || (index.has_true && !text.is_empty())
                        || ((index.has_false || index.has_null) && text.is_empty());
                }
            }
            Value::Alias(alias) => return alias.any(|name| self.has(name, fuel)),
            _ => {}
        }
        // Out of fuel, the answer does not matter.
        self.items
            .iter()
            .any(|item| fuel.is_empty() || compare::equal(value, item, fuel))
    }

    /// `count(array_intersect($array, $this))`: how many elements of `array` are, as text, elements of this.
    pub(super) fn count_shared(&self, array: &Value<'_>, fuel: &mut Fuel) -> usize {
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
                    self.items
                        .iter()
                        .map(|item| item.to_text().as_str().into())
                        .collect()
                })
                .contains(text),
            None => self.items.iter().any(|item| {
                fuel.spend(1);
                item.to_text().as_str() == text
            }),
        }
    }
}
