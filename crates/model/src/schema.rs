//! What payloads need to know about registers and schemas: their names, and in which column each property of a schema is
//! stored.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::columns::Row;
use super::time;
use super::transition::{Annotation, Transition};
use crate::json;

/// The id, uuid and slug of a register or schema. All but the id may be unknown, since objects may outlive the row of their
/// register or schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub id: i64,
    pub uuid: Option<String>,
    pub slug: Option<String>,
}

impl Reference {
    /// A reference to a row that is gone.
    #[must_use]
    pub(crate) const fn gone(id: i64) -> Self {
        Self {
            id,
            uuid: None,
            slug: None,
        }
    }

    /// Reads the row of a register or schema. `None` if it has no id.
    #[must_use]
    pub fn from_row(row: &Row) -> Option<Self> {
        let text = |key: &str| {
            row.get(key)
                .and_then(Value::as_str)
                .filter(|s| !s.is_empty())
                .map(str::to_owned)
        };
        Some(Self {
            id: row.get("id")?.as_i64()?,
            uuid: text("uuid"),
            slug: text("slug"),
        })
    }

    /// The reference of this id, known or gone.
    pub(crate) fn value_of(known: Option<&Self>, id: Option<i64>) -> Value {
        known.map_or_else(
            || id.map_or(Value::Null, |id| Self::gone(id).to_value()),
            Self::to_value,
        )
    }

    /// The reference as it stands in an [`Entity`](crate::Entity).
    pub(crate) fn to_value(&self) -> Value {
        let mut map = Map::new();
        map.insert("id".into(), self.id.into());
        map.insert("uuid".into(), self.uuid.clone().into());
        map.insert("slug".into(), self.slug.clone().into());
        Value::Object(map)
    }
}

/// The type of a property's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PropertyType {
    Text,
    Date,
    DateTime,
    Number,
    Boolean,
    Array,
    Object,
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Property {
    name: String,
    /// The name as a text of JSON.
    pub(crate) quoted: String,
    kind: PropertyType,
}

impl Property {
    /// Its name in the schema.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The value of its column, converted to its type. See [`PropertyType::typed`].
    pub(crate) fn typed(&self, value: &Value) -> Value {
        self.kind.typed(value)
    }

    /// Whether [`Self::typed`] keeps a scalar with this text as it is.
    pub(crate) fn keeps(&self, text: &str) -> bool {
        let begins = text.as_bytes().first();
        match self.kind {
            _ if text == "null" => true,
            PropertyType::Text => begins == Some(&b'"'),
            PropertyType::Number => begins != Some(&b'"'),
            PropertyType::Boolean => matches!(text, "true" | "false"),
            PropertyType::Array | PropertyType::Object | PropertyType::Other => {
                !text.starts_with("\"[") && !text.starts_with("\"{")
            }
            PropertyType::Date | PropertyType::DateTime => false,
        }
    }
}

/// The parts of a schema that the payloads of its objects need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    pub reference: Reference,
    /// The properties by their column in the magic table.
    columns: HashMap<String, Property>,
    /// The names of the properties of type object, whose empty value is `{}`.
    maps: Vec<String>,
    /// Its annotation `x-openregister-lifecycle`.
    lifecycle: Option<Annotation>,
}

/// The length in bytes to which PostgreSQL truncates identifiers.
const MAX_IDENTIFIER: usize = 63;

impl Schema {
    /// Reads the row of a schema. `None` if it has no id.
    #[must_use]
    pub fn from_row(row: &Row) -> Option<Self> {
        let reference = Reference::from_row(row)?;
        let mut columns = HashMap::new();
        let mut maps = Vec::new();
        let parsed;
        let properties = match row.get("properties") {
            Some(Value::Object(map)) => Some(map),
            Some(Value::String(text)) => {
                parsed = json::parse_deep_object(text, json::DEEPEST).ok();
                parsed.as_ref()
            }
            _ => None,
        };
        for (name, definition) in properties.into_iter().flatten() {
            let kind = PropertyType::read(definition);
            if kind == PropertyType::Object {
                maps.push(name.clone());
            }
            let mut column = column_name(name);
            let property = Property {
                name: name.clone(),
                quoted: Value::from(name.as_str()).to_string(),
                kind,
            };
            if column.len() > MAX_IDENTIFIER {
                column.truncate(MAX_IDENTIFIER);
            }
            columns.insert(column, property);
        }
        Some(Self {
            reference,
            columns,
            maps,
            lifecycle: Annotation::from_row(row),
        })
    }

    /// Whether a property of its objects has a state that moves by transitions.
    #[must_use]
    pub const fn has_lifecycle(&self) -> bool {
        self.lifecycle.is_some()
    }

    /// Whether it declares a transition of this name.
    #[must_use]
    pub fn declares(&self, action: &str) -> bool {
        self.lifecycle
            .as_ref()
            .is_some_and(|lifecycle| lifecycle.declares(action))
    }

    /// The transition between two states of one of its objects, given by their fields, if there is one.
    #[must_use]
    pub fn transition(&self, old: &Map<String, Value>, new: &Map<String, Value>) -> Option<Transition> {
        self.lifecycle.as_ref()?.between(old, new)
    }

    /// The property that is stored in `column`.
    pub(crate) fn column(&self, column: &str) -> Option<&Property> {
        self.columns.get(column)
    }

    /// The names of the properties whose value is a map.
    pub(crate) fn maps(&self) -> &[String] {
        &self.maps
    }
}

impl PropertyType {
    fn read(definition: &Value) -> Self {
        let kind = match definition.get("type") {
            Some(Value::String(kind)) => Some(kind.as_str()),
            // ["string", "null"]
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|k| *k != "null"),
            _ => None,
        };
        let format = definition.get("format").and_then(Value::as_str);
        match (kind, format) {
            (Some("string"), Some("date")) => Self::Date,
            (Some("string"), Some("date-time" | "datetime")) => Self::DateTime,
            (Some("string"), _) => Self::Text,
            (Some("integer" | "number"), _) => Self::Number,
            (Some("boolean"), _) => Self::Boolean,
            (Some("array"), _) => Self::Array,
            (Some("object"), _) => Self::Object,
            _ => Self::Other,
        }
    }

    /// The value of a column, converted to the property's JSON type. Numbers keep their digits. A value that cannot be converted
    /// stays as it is.
    fn typed(self, value: &Value) -> Value {
        match (self, value) {
            (_, Value::Null) => Value::Null,
            (Self::Date, _) => time::date(value),
            (Self::DateTime, _) => time::date_time(value),
            (Self::Text, Value::Number(number)) => Value::String(number.to_string()),
            (Self::Text, Value::Bool(flag)) => Value::String(flag.to_string()),
            (Self::Number, Value::String(text)) => match json::parse(text) {
                Ok(number @ Value::Number(_)) => number,
                _ => value.clone(),
            },
            (Self::Boolean, Value::String(text)) => match text.as_str() {
                "true" | "t" | "1" | "yes" => Value::Bool(true),
                "false" | "f" | "0" | "no" | "" => Value::Bool(false),
                _ => value.clone(),
            },
            (Self::Boolean, Value::Number(number)) => Value::Bool(number.as_f64() != Some(0.0)),
            (Self::Object, Value::Array(items)) if items.is_empty() => Value::Object(Map::new()),
            (Self::Array | Self::Object | Self::Other, Value::String(text))
                if text.starts_with(['[', '{']) =>
            {
                match json::parse_deep(text, json::DEEPEST) {
                    Ok(Value::Array(items)) if items.is_empty() && self == Self::Object => {
                        Value::Object(Map::new())
                    }
                    Ok(decoded) => decoded,
                    Err(_) => value.clone(),
                }
            }
            _ => value.clone(),
        }
    }
}

/// The column in which OpenRegister stores the property `name`: `firstName` → `first_name`, `E-mail address` →
/// `e_mail_address`.
pub(crate) fn column_name(name: &str) -> String {
    let mut column = String::with_capacity(name.len() + 4);
    let mut before = 0u8;
    for &byte in name.as_bytes() {
        if byte.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) {
            column.push('_');
        }
        let plain = byte.to_ascii_lowercase();
        if plain.is_ascii_lowercase() || plain.is_ascii_digit() {
            column.push(char::from(plain));
        } else if !column.ends_with('_') {
            column.push('_');
        }
        before = byte;
    }
    column.truncate(column.trim_end_matches('_').len());
    column
}

/// `first_name` → `firstName`, for columns that belong to no property of the schema.
pub(crate) fn camel_case(column: &str) -> String {
    let mut name = String::with_capacity(column.len());
    let mut upper = false;
    for c in column.chars() {
        if c == '_' {
            upper = !name.is_empty();
        } else if upper {
            name.extend(c.to_uppercase());
            upper = false;
        } else {
            name.push(c);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn column_names_are_openregisters() {
        for (name, column) in [
            ("name", "name"),
            ("firstName", "first_name"),
            ("E-mail address", "e_mail_address"),
            ("URL2Go", "url2_go"),
            ("HTTPServer", "httpserver"),
            ("größe", "gr_e"),
            ("a__b", "a_b"),
            ("trailing!", "trailing"),
            ("Über", "_ber"),
        ] {
            assert_eq!(column_name(name), column, "{name}");
        }
        assert_eq!(camel_case("first_name"), "firstName");
        assert_eq!(camel_case("a_b_c"), "aBC");
        assert_eq!(camel_case("_mail"), "mail");
    }

    #[test]
    fn values_are_typed_as_the_schema_says() {
        let row = json!({"id": 1, "uuid": "u", "slug": "", "properties": {
            "s": {"type": "string"}, "i": {"type": "integer"}, "n": {"type": ["null", "number"]}, "b": {"type": "boolean"},
            "d": {"type": "string", "format": "date"}, "a": {"type": "array"}, "o": {"type": "object"}, "x": {}
        }});
        let schema = Schema::from_row(&row.as_object().unwrap().clone().into()).unwrap();
        assert_eq!(schema.reference.slug, None);
        let typed = |column: &str, value: &str| {
            let value: Value = serde_json::from_str(value).unwrap();
            schema.column(column).unwrap().typed(&value).to_string()
        };
        assert_eq!(typed("s", "12"), r#""12""#);
        assert_eq!(typed("s", r#""[1]""#), r#""[1]""#);
        assert_eq!(typed("i", "12345678901234567890"), "12345678901234567890");
        assert_eq!(typed("i", r#""7""#), "7");
        assert_eq!(typed("n", "9.50"), "9.50");
        assert_eq!(typed("n", r#""1.10""#), "1.10");
        assert_eq!(typed("n", r#""x""#), r#""x""#);
        assert_eq!(typed("b", r#""yes""#), "true");
        assert_eq!(typed("d", r#""1815-12-10T00:00:00""#), r#""1815-12-10""#);
        assert_eq!(typed("a", r#""[1,2]""#), "[1,2]");
        assert_eq!(typed("o", "[]"), "{}");
        assert_eq!(
            typed("o", r#""uuid-of-a-related-object""#),
            r#""uuid-of-a-related-object""#
        );
        assert_eq!(typed("x", r#""{\"k\":1}""#), r#"{"k":1}"#);
        assert_eq!(typed("x", "null"), "null");
    }
}
