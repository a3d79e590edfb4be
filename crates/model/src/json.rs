//! Reads JSON that somebody else wrote.
//!
//! `serde_json`'s own reading of a `Value` takes an object with the single key `$serde_json::private::Number` (or `…::RawValue`)
//! for a number (or a raw text): that is how numbers keep their digits. An object of a user may have such a key. Here it is
//! an ordinary one: what is written back is what was read.
//!
//! What people send may nest 127 levels; what Nextcloud keeps may nest [`DEEPEST`], as PHP's 512 levels demand. PostgreSQL itself
//! reads some 10,000 levels of `json` and `jsonb` with its default `max_stack_depth`. To drop, compare, copy or write a `Value`
//! takes stack for each level, so the threads that do it have [`STACK`] bytes.

mod deep;

use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Error, Map, Number, Value};

/// Under which key `serde_json` hands a number to whoever takes any value.
const NUMBER: &str = "$serde_json::private::Number";

/// How many levels of arrays and objects may be in each other in a row of Nextcloud's; PHP writes 512.
pub const DEEPEST: usize = 1000;
/// How many levels more what we make of a row has.
pub const AROUND: usize = 50;
/// The stack of a thread that works with such values. An unoptimised build needs less than half of it (`tests` measure that).
pub const STACK: usize = 16 << 20;

/// Reads one value that may nest `most` levels deep.
///
/// # Errors
/// Where it is not JSON, or is nested deeper.
pub fn parse_deep(text: &str, most: usize) -> Result<Value, Error> {
    // The usual reading is the quicker one.
    parse(text).or_else(|error| {
        if deep::depth(text) > SHALLOW {
            deep::parse(text, most)
        } else {
            Err(error)
        }
    })
}

/// Reads one object that may nest `most` levels deep.
///
/// # Errors
/// As [`parse_deep`], and where it is no object.
pub fn parse_deep_object(text: &str, most: usize) -> Result<Map<String, Value>, Error> {
    parse_object(text).or_else(|error| {
        if deep::depth(text) > SHALLOW {
            object(deep::parse(text, most)?)
        } else {
            Err(error)
        }
    })
}

/// The levels that `serde_json` reads.
const SHALLOW: usize = 127;

/// Reads one value.
///
/// # Errors
/// Where it is not JSON, or is nested deeper than 127 levels.
pub fn parse(text: &str) -> Result<Value, Error> {
    serde_json::from_str::<Read>(text).map(|read| read.0)
}

/// Reads one value.
///
/// # Errors
/// As [`parse`].
pub fn parse_bytes(text: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice::<Read>(text).map(|read| read.0)
}

/// Reads one object.
///
/// # Errors
/// As [`parse`], and where it is no object.
pub fn parse_object(text: &str) -> Result<Map<String, Value>, Error> {
    serde_json::from_str::<Object>(text).map(|read| read.0)
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
    Err(E::custom(format!("{kind} is no object")))
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

/// What stands under the key [`NUMBER`]: the digits of a number, which `serde_json` hands over as an owned string, or a value of
/// the text, whose strings it only ever lends.
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RAW: &str = "$serde_json::private::RawValue";

    #[test]
    fn the_keys_of_serde_json_are_ordinary_ones() {
        for key in [NUMBER, RAW] {
            for value in [
                "\"12\"",
                "\"1e5\"",
                "\"many\"",
                "\"\\u0031\"",
                "\"[1,2]\"",
                "12",
                "1.50",
                "null",
                "true",
                "[]",
                "[1,{}]",
                "{}",
                "{\"a\":1}",
            ] {
                let plain = value.replace("\\u0031", "1");
                for (text, back) in [
                    (format!("{{\"{key}\":{value}}}"), format!("{{\"{key}\":{plain}}}")),
                    (
                        format!("{{\"{key}\":{value},\"b\":2}}"),
                        format!("{{\"{key}\":{plain},\"b\":2}}"),
                    ),
                    (
                        format!("{{\"a\":[{{\"{key}\":{value}}}]}}"),
                        format!("{{\"a\":[{{\"{key}\":{plain}}}]}}"),
                    ),
                    (
                        format!("{{\"\\u0024{}\":{value}}}", &key[1..]),
                        format!("{{\"{key}\":{plain}}}"),
                    ),
                    (
                        format!("{{\"{key}\":{{\"{key}\":{value}}}}}"),
                        format!("{{\"{key}\":{{\"{key}\":{plain}}}}}"),
                    ),
                ] {
                    assert_eq!(parse(&text).unwrap().to_string(), back, "{text}");
                    assert_eq!(parse_bytes(text.as_bytes()).unwrap().to_string(), back, "{text}");
                    assert_eq!(
                        Value::Object(parse_object(&text).unwrap()).to_string(),
                        back,
                        "{text}"
                    );
                }
            }
        }
    }

    #[test]
    fn numbers_keep_their_digits() {
        for text in [
            "0",
            "-0",
            "12345678901234567890123",
            "1.50",
            "-1e-400",
            "1E+2",
            "[1,-2.0,3e4]",
        ] {
            let value = parse(text).unwrap();
            assert_eq!(value, serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
        assert_eq!(
            parse("12345678901234567890123").unwrap().to_string(),
            "12345678901234567890123"
        );
        assert_eq!(parse("7").unwrap().as_i64(), Some(7));
        assert!(parse("[0.5]").unwrap()[0].is_f64());
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            "{",
            "{\"a\":}",
            "01",
            "1.",
            "[1,]",
            "\"\\ud800\"",
            "nul",
            "{} {}",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in ["1", "\"a\"", "[]", "null", "true"] {
            assert!(
                parse_object(text)
                    .unwrap_err()
                    .to_string()
                    .contains("is no object"),
                "{text}"
            );
        }
        let deep = |n| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(&deep(127)).is_ok());
        assert!(parse(&deep(128)).is_err());
    }

    /// `levels` objects in each other, around 1.
    fn nested(levels: usize) -> String {
        format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))
    }

    #[test]
    fn rows_may_nest_deeper_than_what_people_send() {
        let text = nested(DEEPEST);
        assert!(parse(&text).is_err());
        assert_eq!(parse_deep(&text, DEEPEST).unwrap().to_string(), text);
        assert_eq!(
            Value::Object(parse_deep_object(&text, DEEPEST).unwrap()).to_string(),
            text
        );
        let error = parse_deep(&nested(DEEPEST + 1), DEEPEST).unwrap_err();
        assert_eq!(error.to_string(), "nested deeper than 1000 levels");
        assert!(
            parse_deep_object(&format!("[{}]", nested(200)), DEEPEST)
                .unwrap_err()
                .to_string()
                .contains("no object")
        );
        // What is wrong with a shallow text is said as ever.
        assert!(
            parse_deep("{\"a\":}", DEEPEST)
                .unwrap_err()
                .to_string()
                .contains("line 1 column")
        );
    }

    /// Everything that walks a value recursively, at the deepest, with less than half of the stack that threads have.
    #[test]
    fn the_stack_is_enough() {
        let work = || {
            let value = parse_deep(&nested(DEEPEST + AROUND), DEEPEST + AROUND).unwrap();
            let copy = value.clone();
            assert_eq!(copy, value);
            assert_eq!(copy.to_string().len(), value.to_string().len());
            // Masking walks it, and so does writing an entity.
            let row =
                crate::parse_row(&format!("{{\"id\":1,\"configuration\":{}}}", nested(DEEPEST - 1))).unwrap();
            let kind = crate::EntityKind::Agent;
            let entity = crate::plain(kind, &row);
            let again = crate::Entity::from_text(&entity.to_text()).unwrap();
            assert_eq!(again, entity);
        };
        let thread = std::thread::Builder::new().stack_size(STACK / 2).spawn(work);
        thread.unwrap().join().unwrap();
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::String),
        ];
        let key = prop_oneof![3 => ".{0,5}", 1 => Just(NUMBER.to_owned()), 1 => Just(RAW.to_owned())];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::vec((key.clone(), inner), 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in values()) {
            let text = value.to_string();
            prop_assert_eq!(parse(&text).unwrap().to_string(), text.clone());
            prop_assert_eq!(parse_bytes(text.as_bytes()).unwrap().to_string(), text);
        }
    }
}
