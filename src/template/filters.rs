//! The filters that compare or fold texts, and those that take the name of another filter, of a test or of a part.
//!
//! Guarantees: what they do is paid for in fuel, by item and by byte; the engine's own ones pay by item only. A text is folded once,
//! not at each comparison. A test that is reached by its name is one that a template may use.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write as _;

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::allowed::TESTS;
use super::error::{LONG_PATH, NO_MAP, NO_TEST};
use super::values;

/// How many bytes one unit of fuel pays for if they are copied or compared, and if they are folded.
const COMPARED: u64 = 64;
const FOLDED: u64 = 16;
/// How deep a path of parts may be.
const DEEPEST_PATH: usize = 20;

/// Puts them into the place of the engine's own.
pub(super) fn add(language: &mut Environment<'static>) {
    language.add_filter("map", pluck);
    language.add_filter("sort", sort);
    language.add_filter("unique", unique);
    language.add_filter("min", |state: &State, list: &Value, options: Kwargs| {
        extreme(state, list, &options, Ordering::Less)
    });
    language.add_filter("max", |state: &State, list: &Value, options: Kwargs| {
        extreme(state, list, &options, Ordering::Greater)
    });
    language.add_filter("dictsort", dictsort);
    language.add_filter("join", join);
    language.add_filter("select", |state: &mut State, list: Value, args: Rest<Value>| {
        select(state, list, None, &args, true)
    });
    language.add_filter("reject", |state: &mut State, list: Value, args: Rest<Value>| {
        select(state, list, None, &args, false)
    });
    language.add_filter(
        "selectattr",
        |state: &mut State, list: Value, part: Cow<'_, str>, args: Rest<Value>| {
            select(state, list, Some(&part), &args, true)
        },
    );
    language.add_filter(
        "rejectattr",
        |state: &mut State, list: Value, part: Cow<'_, str>, args: Rest<Value>| {
            select(state, list, Some(&part), &args, false)
        },
    );
}

fn pay(state: &State, bytes: u64, for_one: u64) -> Result<(), Error> {
    state.consume_fuel(1 + bytes / for_one)
}

fn bytes(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

fn failure(reason: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason)
}

/// The part of a value at a path with dots; undefined if there is none.
fn part(state: &State, of: &Value, path: &str) -> Result<Value, Error> {
    if path.split('.').count() > DEEPEST_PATH {
        return Err(failure(LONG_PATH));
    }
    let mut found = of.clone();
    for name in path.split('.') {
        pay(state, bytes(name), COMPARED)?;
        found = match name.parse::<usize>() {
            Ok(at) => found.get_item_by_index(at),
            Err(_) => found.get_attr(name),
        }
        .unwrap_or_default();
    }
    Ok(found)
}

/// How many bytes a comparison with this value looks at, at most.
fn weight(state: &State, value: &Value) -> Result<u64, Error> {
    if let Some(text) = value.as_str() {
        return Ok(bytes(text));
    }
    if values::compares_in_one_step(value) || !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return Ok(1);
    }
    let mut sum = 1_u64;
    for item in value.try_iter()? {
        pay(state, 0, COMPARED)?;
        sum = sum.saturating_add(weight(state, &item)?);
    }
    Ok(sum)
}

/// What a value is compared by: itself, or these parts of it.
struct Key<'a> {
    case_sensitive: bool,
    parts: Vec<&'a str>,
}

impl<'a> Key<'a> {
    fn of(options: &'a Kwargs) -> Result<Self, Error> {
        let parts = options.get::<Option<&str>>("attribute")?.unwrap_or_default();
        Ok(Self {
            case_sensitive: options.get::<Option<bool>>("case_sensitive")?.unwrap_or_default(),
            parts: parts
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .collect(),
        })
    }

    fn folded(&self, state: &State, value: Value) -> Result<Value, Error> {
        match value.as_str() {
            Some(text) if !self.case_sensitive => {
                pay(state, bytes(text), FOLDED)?;
                Ok(Value::from(text.to_lowercase()))
            }
            _ => Ok(value),
        }
    }

    fn read(&self, state: &State, item: &Value) -> Result<Vec<Value>, Error> {
        if self.parts.is_empty() {
            return Ok(vec![self.folded(state, item.clone())?]);
        }
        let parts = self.parts.iter();
        parts
            .map(|path| self.folded(state, part(state, item, path)?))
            .collect()
    }
}

fn weight_of(state: &State, key: &[Value]) -> Result<u64, Error> {
    key.iter()
        .try_fold(0, |sum: u64, value| Ok(sum.saturating_add(weight(state, value)?)))
}

/// Sorts items by keys. A sort compares an item about once for each time that the list can be halved.
fn sorted(state: &State, mut items: Vec<(Vec<Value>, Value)>, reverse: bool) -> Result<Vec<Value>, Error> {
    let mut seen = u64::try_from(items.len()).unwrap_or(u64::MAX).saturating_mul(32);
    for (key, _) in &items {
        seen = seen.saturating_add(weight_of(state, key)?);
    }
    let rounds = u64::from(items.len().max(1).ilog2() + 1);
    pay(state, seen.saturating_mul(rounds), COMPARED)?;
    items.sort_by(|(a, _), (b, _)| {
        let order = a.cmp(b);
        if reverse { order.reverse() } else { order }
    });
    Ok(items.into_iter().map(|(_, item)| item).collect())
}

fn sort(state: &State, list: &Value, options: Kwargs) -> Result<Vec<Value>, Error> {
    let key = Key::of(&options)?;
    let reverse = options.get::<Option<bool>>("reverse")?.unwrap_or_default();
    options.assert_all_used()?;
    let mut items = Vec::new();
    for item in list.try_iter()? {
        pay(state, 0, COMPARED)?;
        items.push((key.read(state, &item)?, item));
    }
    sorted(state, items, reverse)
}

/// The pairs of a map, by name or by value.
fn dictsort(state: &State, map: &Value, options: Kwargs) -> Result<Vec<Value>, Error> {
    if map.kind() != ValueKind::Map {
        return Err(failure(NO_MAP));
    }
    let key = Key {
        case_sensitive: options.get::<Option<bool>>("case_sensitive")?.unwrap_or_default(),
        parts: Vec::new(),
    };
    let by_value = options.get::<Option<&str>>("by")? == Some("value");
    let reverse = options.get::<Option<bool>>("reverse")?.unwrap_or_default();
    options.assert_all_used()?;
    let mut items = Vec::new();
    for name in map.try_iter()? {
        pay(state, 0, COMPARED)?;
        let value = map.get_item(&name)?;
        let by = key.read(state, if by_value { &value } else { &name })?;
        items.push((by, Value::from(vec![name, value])));
    }
    sorted(state, items, reverse)
}

fn unique(state: &State, list: &Value, options: Kwargs) -> Result<Vec<Value>, Error> {
    let key = Key::of(&options)?;
    options.assert_all_used()?;
    let mut seen = std::collections::BTreeSet::new();
    let mut kept = Vec::new();
    for item in list.try_iter()? {
        let by = key.read(state, &item)?;
        let rounds = u64::from((seen.len() + 1).ilog2() + 1);
        pay(
            state,
            weight_of(state, &by)?.saturating_add(8).saturating_mul(rounds),
            COMPARED,
        )?;
        if seen.insert(by) {
            kept.push(item);
        }
    }
    Ok(kept)
}

/// The first of the smallest or largest items.
fn extreme(state: &State, list: &Value, options: &Kwargs, wanted: Ordering) -> Result<Value, Error> {
    let key = Key::of(options)?;
    options.assert_all_used()?;
    let mut best: Option<(Vec<Value>, Value)> = None;
    for item in list.try_iter()? {
        let by = key.read(state, &item)?;
        pay(state, weight_of(state, &by)?, COMPARED)?;
        if best.as_ref().is_none_or(|(than, _)| by.cmp(than) == wanted) {
            best = Some((by, item));
        }
    }
    Ok(best.map_or(Value::UNDEFINED, |(_, item)| item))
}

fn join(
    state: &State,
    list: &Value,
    between: Option<Cow<'_, str>>,
    options: Kwargs,
) -> Result<String, Error> {
    let path = options.get::<Option<&str>>("attribute")?;
    options.assert_all_used()?;
    let between = between.unwrap_or_default();
    let mut text = String::new();
    for (n, item) in list.try_iter()?.enumerate() {
        let item = match path {
            Some(path) => part(state, &item, path)?,
            None => item,
        };
        let before = text.len();
        if n > 0 {
            pay(state, bytes(&between), COMPARED)?;
            text.push_str(&between);
        }
        match item.as_str() {
            Some(one) => {
                pay(state, bytes(one), COMPARED)?;
                text.push_str(one);
            }
            None => {
                write!(text, "{item}").map_err(|_| Error::from(ErrorKind::WriteFailure))?;
                pay(state, bytes(text.get(before..).unwrap_or_default()), FOLDED)?;
            }
        }
    }
    Ok(text)
}

/// The items that pass a test or, with `keep` false, those that do not; with `path`, a part of each is tested.
fn select(
    state: &mut State,
    list: Value,
    path: Option<&str>,
    args: &[Value],
    keep: bool,
) -> Result<Vec<Value>, Error> {
    let (test, rest) = match args.split_first() {
        None => (None, args),
        Some((name, rest)) => {
            let known = TESTS.iter().find(|test| name.as_str() == Some(**test));
            (Some(*known.ok_or_else(|| failure(NO_TEST))?), rest)
        }
    };
    let mut kept = Vec::new();
    for item in list.try_iter()? {
        let tested = match path {
            Some(path) => part(state, &item, path)?,
            None => item.clone(),
        };
        pay(state, tested.as_str().map_or(0, bytes), COMPARED)?;
        let passed = match test {
            Some(test) => {
                let args: Vec<Value> = std::iter::once(tested).chain(rest.iter().cloned()).collect();
                state.perform_test(test, &args)?
            }
            None => tested.is_true(),
        };
        if passed == keep {
            kept.push(item);
        }
    }
    Ok(kept)
}

/// The filter `map(attribute="name")`: this part of each item.
fn pluck(state: &State, list: &Value, options: Kwargs) -> Result<Vec<Value>, Error> {
    let attribute: &str = options.get("attribute")?;
    options.assert_all_used()?;
    let mut parts = Vec::new();
    for item in list.try_iter()? {
        pay(state, bytes(attribute), COMPARED)?;
        parts.push(match item.is_undefined() {
            true => item,
            false => item.get_attr(attribute)?,
        });
    }
    Ok(parts)
}
