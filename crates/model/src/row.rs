//! A captured row image, and access to an object's row in either kind of table.

use serde_json::Value;

use super::columns::{Column, Row};
use super::{Store, TableName};
use crate::json;

/// Whether a JSON column counts as set: it does not if it is `null`, `[]`, `{}` or an empty text.
pub fn is_set(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        Some(Value::String(text)) => !matches!(text.trim(), "" | "[]" | "{}" | "null"),
        Some(Value::Bool(_) | Value::Number(_)) => true,
    }
}

/// The row of an object.
#[derive(Debug, Clone, Copy)]
pub struct ObjectRow<'a> {
    row: &'a Row,
    magic: bool,
}

impl<'a> ObjectRow<'a> {
    #[must_use]
    pub fn new(table: &TableName, row: &'a Row) -> Self {
        Self {
            row,
            magic: matches!(table.store(), Store::Magic { .. }),
        }
    }

    /// A metadata column, by its name in the blob table.
    pub fn meta(self, name: &str) -> Option<&'a Value> {
        if !self.magic {
            return self.row.get(name);
        }
        self.row.get_underscored(name)
    }

    /// A metadata column that holds text; `None` if it is empty.
    pub fn text(self, name: &str) -> Option<&'a str> {
        let column = if self.magic {
            self.row.column_underscored(name)
        } else {
            self.row.column(name)
        };
        column.and_then(Column::as_str).filter(|text| !text.is_empty())
    }

    /// The object's uuid.
    #[must_use]
    pub fn uuid(self) -> Option<&'a str> {
        self.text("uuid")
    }

    /// Whether the object is deleted softly: its column `deleted` is set.
    #[must_use]
    pub fn is_deleted(self) -> bool {
        is_set(self.meta("deleted"))
    }

    /// Whether a magic table holds the row.
    #[must_use]
    pub const fn is_magic(self) -> bool {
        self.magic
    }

    /// The whole row.
    #[must_use]
    pub const fn columns(self) -> &'a Row {
        self.row
    }

    /// The ids of the object's register and schema. They are in the name of a magic table, and in columns of the blob table.
    pub fn ids(self, table: &TableName) -> (Option<i64>, Option<i64>) {
        if let Store::Magic { register, schema } = table.store() {
            return (Some(*register), Some(*schema));
        }
        let id = |name| match self.row.get(name) {
            Some(Value::Number(number)) => number.as_i64(),
            Some(Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        (id("register"), id("schema"))
    }
}

/// Decodes JSON that is stored in a text column. Any other value stays as it is.
pub fn decode_text(value: &Value) -> Value {
    match value {
        Value::String(text) if text.trim().is_empty() => Value::Null,
        Value::String(text) => json::parse_deep(text, json::DEEPEST).unwrap_or_else(|_| value.clone()),
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::parse_row;

    /// The names that `serde_json` uses for numbers and raw texts are ordinary keys in a row.
    #[test]
    fn a_row_may_hold_any_key() {
        for name in ["Number", "RawValue"] {
            for value in ["\"12\"", "\"many\"", "12", "null", "{\"a\":[1.50]}"] {
                let object = format!("{{\"$serde_json::private::{name}\":{value}}}");
                let text = format!("{{\"json\":{object},\"list\":[{object}]}}");
                let row = parse_row(&text).unwrap();
                let read: Map<String, Value> = row
                    .iter()
                    .map(|(name, value)| (name.to_owned(), value.clone()))
                    .collect();
                assert_eq!(Value::Object(read).to_string(), text);
                let kept = decode_text(&Value::String(object.clone()));
                assert_eq!(kept.to_string(), object);
                let entity = crate::Entity::from_text(&text).unwrap();
                assert_eq!(entity.to_text(), text);
            }
        }
    }

    #[test]
    fn rows_that_postgresql_can_write_can_be_read() {
        let row = parse_row(r#"{"a":"x\u0000y","n":12345678901234567890.10}"#).unwrap();
        assert_eq!(row["a"], "x\0y");
        assert_eq!(row["n"].to_string(), "12345678901234567890.10");
        let lone = r#"{"a":"\ud83d","b":"\\ud83d","c":"\ud83d\ude00","d":"\ude00\\"}"#;
        let row = parse_row(lone).unwrap();
        assert_eq!(row["a"], "\u{fffd}");
        assert_eq!(row["b"], "\\ud83d");
        assert_eq!(row["c"], "😀");
        assert_eq!(row["d"], "\u{fffd}\\");
        assert!(parse_row("[1]").is_err());
        assert!(parse_row("{").is_err());
    }

    #[test]
    fn empty_json_counts_as_not_set() {
        for (text, set) in [
            ("null", false),
            ("[]", false),
            ("{}", false),
            (r#""""#, false),
            (r#""[]""#, false),
            (r#"{"user":"admin"}"#, true),
            (r#""2026-11-24T00:02:06""#, true),
        ] {
            assert_eq!(is_set(Some(&serde_json::from_str(text).unwrap())), set, "{text}");
        }
        assert!(!is_set(None));
    }
}
