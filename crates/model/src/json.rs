//! Reads JSON that others wrote.
//!
//! When `serde_json` reads a `Value`, it takes an object whose only key is `$serde_json::private::Number` (or `…::RawValue`) for a
//! number (or a raw text); that is how numbers keep their digits. An object of a user may have such a key. Here it is an
//! ordinary key, so a value that is written back is the one that was read.
//!
//! JSON in requests may be nested 127 levels deep. JSON in Nextcloud's tables may be nested [`DEEPEST`] levels, because PHP allows
//! 512. (PostgreSQL itself reads some 10,000 levels of `json` and `jsonb` with its default `max_stack_depth`.) Dropping,
//! comparing, copying and writing a `Value` takes stack for each level, so the threads that do it have [`STACK`] bytes.

mod compact;
mod deep;

use std::{fmt, io};

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Error, Map, Number, Value};

pub(crate) use compact::compact;

/// The key under which `serde_json` passes a number to a visitor of any value.
const NUMBER: &str = "$serde_json::private::Number";

/// How many levels deep a row of Nextcloud's tables may be nested. PHP writes up to 512.
pub const DEEPEST: usize = 1000;
/// How many levels our own JSON adds around a row.
pub const AROUND: usize = 50;
/// The stack of a thread that works with such values, in bytes. An unoptimised build needs less than half of it (tested).
pub const STACK: usize = 16 << 20;

/// Reads one value that may be nested `most` levels deep.
///
/// # Errors
/// If `text` is not JSON, or is nested deeper.
pub fn parse_deep(text: &str, most: usize) -> Result<Value, Error> {
    // The recursive parser is faster, so it is tried first.
    parse(text).or_else(|error| {
        if deep::depth(text) > SHALLOW {
            deep::parse(text, most)
        } else {
            Err(error)
        }
    })
}

/// Reads one object that may be nested `most` levels deep.
///
/// # Errors
/// As for [`parse_deep`], and if the value is not an object.
pub fn parse_deep_object(text: &str, most: usize) -> Result<Map<String, Value>, Error> {
    parse_object(text).or_else(|error| {
        if deep::depth(text) > SHALLOW {
            object(deep::parse(text, most)?)
        } else {
            Err(error)
        }
    })
}

/// How many levels `serde_json` reads.
const SHALLOW: usize = 127;

/// Reads one value.
///
/// # Errors
/// If `text` is not JSON, or is nested deeper than 127 levels.
pub fn parse(text: &str) -> Result<Value, Error> {
    serde_json::from_str::<Read>(text).map(|read| read.0)
}

/// Reads one value.
///
/// # Errors
/// As for [`parse`].
pub fn parse_bytes(text: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice::<Read>(text).map(|read| read.0)
}

/// Reads one object.
///
/// # Errors
/// As for [`parse`], and if the value is not an object.
pub fn parse_object(text: &str) -> Result<Map<String, Value>, Error> {
    serde_json::from_str::<Object>(text).map(|read| read.0)
}

/// Writes a value behind a text.
pub(crate) fn write<T: serde::Serialize>(text: &mut String, value: &T) {
    // Values of JSON can always be written: all their keys are texts.
    let _ = serde_json::to_writer(Behind(text), value);
}

/// Writes behind a text.
struct Behind<'t>(&'t mut String);

impl io::Write for Behind<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let more = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.push_str(more);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The text of a value.
pub(crate) fn to_text<T: serde::Serialize + ?Sized>(value: &T) -> String {
    // Values of JSON can always be written: all their keys are texts.
    serde_json::to_string(value).unwrap_or_default()
}

struct Read(Value);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any).map(Self)
    }
}

struct Object(Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer.deserialize_any(Any)?).map(Self)
    }
}

fn object<E: de::Error>(value: Value) -> Result<Map<String, Value>, E> {
    let kind = match value {
        Value::Object(map) => return Ok(map),
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
    };
    Err(E::custom(format!("{kind} is not an object")))
}

/// Any value.
struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Read(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        let mut next = entries.next_key::<String>()?;
        if next.as_deref() == Some(NUMBER) {
            match entries.next_value_seed(PerhapsNumber)? {
                Either::Number(number) => return Ok(Value::Number(number)),
                Either::Value(value) => drop(map.insert(NUMBER.to_owned(), value)),
            }
            next = entries.next_key()?;
        }
        while let Some(key) = next {
            let Read(value) = entries.next_value()?;
            map.insert(key, value);
            next = entries.next_key()?;
        }
        Ok(Value::Object(map))
    }
}

/// Reads what comes under the key [`NUMBER`]. It is either the digits of a number, which `serde_json` passes as an owned string, or
/// a value of the text, whose strings `serde_json` always passes as borrowed ones.
struct PerhapsNumber;

enum Either {
    Number(Number),
    Value(Value),
}

impl<'de> DeserializeSeed<'de> for PerhapsNumber {
    type Value = Either;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Either, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PerhapsNumber {
    type Value = Either;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_string<E: de::Error>(self, digits: String) -> Result<Either, E> {
        digits.parse().map(Either::Number).map_err(E::custom)
    }

    fn visit_str<E>(self, value: &str) -> Result<Either, E> {
        Ok(Either::Value(Value::String(value.to_owned())))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Either, E> {
        Any.visit_unit().map(Either::Value)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Either, E> {
        Any.visit_bool(value).map(Either::Value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Either, E> {
        Any.visit_u64(value).map(Either::Value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Either, E> {
        Any.visit_i64(value).map(Either::Value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Either, A::Error> {
        Any.visit_seq(items).map(Either::Value)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Either, A::Error> {
        Any.visit_map(entries).map(Either::Value)
    }
}

#[cfg(test)]
mod tests;
