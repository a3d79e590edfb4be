//! Writes the text of an object's entity straight from its row.
//!
//! Guarantee: the text is, byte for byte, that of the fields that `object_fields` makes (tested). What this cannot promise for
//! is not written here: it gives `None`, and the fields are made.

use serde_json::Value;

use super::columns::{Column, Row};
use super::json;
use super::object_fields::{JSON, OPTIONAL_TIMES, TEXTS, emptied};
use super::row::{decode_text, is_set};
use super::schema::{Reference, Schema};
use super::time;

/// The text of the entity of a row of a magic table.
pub(crate) fn magic_text(row: &Row, register: &Named<'_>, schema: &Schema) -> Option<String> {
    let mut text = Text(String::with_capacity(row.text().len() + 256));
    let meta = |name: &str| row.column_underscored(name);
    text.plain("{\"id\":", meta("id"));
    text.plain(",\"uuid\":", meta("uuid"));
    text.reference(",\"register\":", register);
    text.reference(",\"schema\":", &Named::of(&schema.reference));
    text.properties(row, schema)?;
    text.set_text(",\"organisation\":", meta("organisation"));
    text.time(",\"created\":", meta("created"));
    text.time(",\"updated\":", meta("updated"));
    for name in TEXTS {
        text.name(name);
        text.set_text("", meta(name));
    }
    text.plain(",\"size\":", meta("size"));
    let version = ["schema_version", "schemaversion", "schemaVersion"];
    let version = version
        .into_iter()
        .filter_map(meta)
        .find(|column| is_text(*column));
    text.set_text(",\"schemaVersion\":", version);
    for name in OPTIONAL_TIMES {
        if let Some(column) = meta(name) {
            text.name(name);
            text.time("", Some(column));
        }
    }
    for name in ["locked", "deleted"] {
        text.name(name);
        text.json_or_null(meta(name));
    }
    for (name, list) in JSON {
        if let Some(column) = meta(name) {
            text.name(name);
            text.json(column, list);
        }
    }
    text.0.push('}');
    Some(text.0)
}

/// The names of a register or a schema.
pub(crate) struct Named<'r> {
    pub(crate) id: i64,
    pub(crate) uuid: Option<&'r str>,
    pub(crate) slug: Option<&'r str>,
}

impl<'r> Named<'r> {
    pub(crate) fn of(reference: &'r Reference) -> Self {
        Self {
            id: reference.id,
            uuid: reference.uuid.as_deref(),
            slug: reference.slug.as_deref(),
        }
    }
}

/// Whether a column holds a text that is not empty.
fn is_text(column: Column<'_>) -> bool {
    match column.text() {
        Some(text) => text.len() > 2 && text.starts_with('"'),
        None => column.value().as_str().is_some_and(|text| !text.is_empty()),
    }
}

/// Whether the text of a value is as it would be written: a scalar without escapes, or a number without an exponent.
fn is_canonical(text: &str) -> bool {
    match text.as_bytes() {
        b"null" | b"true" | b"false" => true,
        [b'"', ..] => !text.contains('\\'),
        digits => digits
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'.')),
    }
}

/// A text of JSON that grows.
struct Text(String);

impl Text {
    /// The name of the next field, which needs no escapes, and a colon.
    fn name(&mut self, name: &str) {
        self.0.push_str(",\"");
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    fn value(&mut self, before: &str, value: &Value) {
        self.0.push_str(before);
        json::write(&mut self.0, value);
    }

    /// An object or a list that is not empty: no type and no field makes anything else of it. `false`: it is none, or must be read to be
    /// written.
    fn nested(&mut self, text: &str) -> bool {
        let begin = self.0.len();
        let written = text.starts_with(['{', '[']) && json::compact(&mut self.0, text);
        let empty = self.0.len() < begin + 3;
        if written && empty {
            self.0.truncate(begin);
        }
        written && !empty
    }

    /// What [`Reference::to_value`] makes.
    fn reference(&mut self, before: &str, named: &Named<'_>) {
        self.0.push_str(before);
        self.0.push_str("{\"id\":");
        json::write(&mut self.0, &named.id);
        self.0.push_str(",\"uuid\":");
        json::write(&mut self.0, &named.uuid);
        self.0.push_str(",\"slug\":");
        json::write(&mut self.0, &named.slug);
        self.0.push('}');
    }

    /// The value as it is; null if there is no such column.
    fn plain(&mut self, before: &str, column: Option<Column<'_>>) {
        self.0.push_str(before);
        let Some(column) = column else {
            return self.0.push_str("null");
        };
        match column.text() {
            Some(text) if is_canonical(text) => self.0.push_str(text),
            _ => json::write(&mut self.0, column.value()),
        }
    }

    /// A text; null if it is empty or something else.
    fn set_text(&mut self, before: &str, column: Option<Column<'_>>) {
        self.plain(before, column.filter(|column| is_text(*column)));
    }

    /// A time.
    fn time(&mut self, before: &str, column: Option<Column<'_>>) {
        let plain = column.and_then(Column::text).filter(|text| is_whole_second(text));
        if let Some(text) = plain {
            self.0.push_str(before);
            self.0.push_str(&text[..text.len() - 1]);
            self.0.push_str("+00:00\"");
        } else {
            let value = column.map_or(&Value::Null, Column::value);
            self.value(before, &time::stamp(value));
        }
    }

    fn json_or_null(&mut self, column: Option<Column<'_>>) {
        let column = column.filter(|column| !matches!(column.text(), Some("null" | "[]" | "{}")));
        if column
            .and_then(Column::text)
            .is_some_and(|text| self.nested(text))
        {
            return;
        }
        let value = column.map_or(Value::Null, |column| decode_text(column.value()));
        self.value(
            "",
            if is_set(Some(&value)) {
                &value
            } else {
                &Value::Null
            },
        );
    }

    fn json(&mut self, column: Column<'_>, list: bool) {
        match column.text() {
            Some("null" | "[]" | "{}") => self.0.push_str(if list { "[]" } else { "{}" }),
            Some(text) if self.nested(text) => {}
            _ => self.value("", &emptied(decode_text(column.value()), list)),
        }
    }

    /// The properties. `None` if a column belongs to no property: its name may be that of another property.
    fn properties(&mut self, row: &Row, schema: &Schema) -> Option<()> {
        self.0.push_str(",\"data\":");
        let mut before = '{';
        for column in row.columns() {
            if column.is_metadata() {
                continue;
            }
            let Some(property) = schema.column(column.name) else {
                if column.name.starts_with('_') || column.text() == Some("null") {
                    continue;
                }
                return None;
            };
            self.0.push(before);
            before = ',';
            self.0.push_str(&property.quoted);
            self.0.push(':');
            match column.text() {
                Some(text) if is_canonical(text) && property.keeps(text) => self.0.push_str(text),
                Some(text) if self.nested(text) => {}
                _ => self.value("", &property.typed(column.value())),
            }
        }
        self.0.push_str(if before == '{' { "{}" } else { "}" });
        Some(())
    }
}

/// Whether a value is a time such as `"2026-11-23T23:59:15"`, of which reading and writing makes the same with an offset.
fn is_whole_second(text: &str) -> bool {
    let pattern = b"\"dddd-dd-ddTdd:dd:dd\"";
    let bytes = text.as_bytes();
    let number = |at: usize| (bytes[at] - b'0') * 10 + (bytes[at + 1] - b'0');
    // Which years are leap years is left to those who can count them.
    let days = || match number(6) {
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    bytes.len() == pattern.len()
        && bytes.iter().zip(pattern).all(|(byte, wanted)| match wanted {
            b'd' => byte.is_ascii_digit(),
            exact => byte == exact,
        })
        && (1..=12).contains(&number(6))
        && (1..=days()).contains(&number(9))
        && number(12) < 24
        && number(15) < 60
        && number(18) < 60
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{Entity, Names, Reference, TableName, object_entity, parse_row};

    fn value() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "null",
            "true",
            "false",
            "0",
            "-0",
            "7",
            "-1.50",
            "1e5",
            "12345678901234567890.10",
            "\"\"",
            "\"Ada\"",
            "\"\u{fc}\u{7f}\"",
            "\"a\\\"b\\n\"",
            "\"\\u00fc\"",
            "\"\\ud83d\"",
            "\"12\"",
            "\"yes\"",
            "\"[1, 2]\"",
            "\"{\\\"k\\\": 1}\"",
            "\"[]\"",
            "\"{}\"",
            "\" \"",
            "\"null\"",
            "[]",
            "{}",
            "[ ]",
            "[1, {\"a\" : null}]",
            "[\"a\", \"b\"]",
            "{\"a\": 1, \"a\": 2}",
            "{\"a\": [ ], \"b\" : {}}",
            "{\"user\": \"admin\", \"n\": 1.0}",
            "\"2026-11-23T23:59:15\"",
            "\"2026-02-30T23:59:15\"",
            "\"2028-02-29T23:59:15\"",
            "\"2026-11-31T23:59:15\"",
            "\"2026-12-31T23:59:59\"",
            "\"2026-12-29T24:00:00\"",
            "\"2026-11-23T23:59:15.123456\"",
            "\"2026-01-01T10:00:00+02:00\"",
            "\"infinity\"",
            "\"1815-12-10\"",
        ])
    }

    const COLUMNS: [&str; 34] = [
        "_id",
        "_uuid",
        "_owner",
        "_organisation",
        "_created",
        "_updated",
        "_name",
        "_folder",
        "_size",
        "_schema_version",
        "_schemaversion",
        "_expires",
        "_published",
        "_locked",
        "_deleted",
        "_files",
        "_relations",
        "_authorization",
        "_groups",
        "_deck",
        "_other",
        "text",
        "date",
        "when",
        "number",
        "flag",
        "list",
        "map",
        "any",
        "e_mail",
        "gone",
        "_geo",
        "_version",
        "_tmlo",
    ];

    proptest! {
        /// What is written from the row is what is written from the fields.
        #[test]
        fn the_text_is_that_of_the_fields(
            columns in prop::collection::btree_map(prop::sample::select(COLUMNS.to_vec()), value(), 0..30), known: bool,
            picked in prop::sample::subsequence(vec!["data", "register", "locked", "files", "created", "name", "id", "nothing"], 0..6)
        ) {
            let each: Vec<String> = columns.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            let row = parse_row(&format!("{{{}}}", each.join(","))).unwrap();
            let table = TableName::parse("oc_openregister_table_2_4", "oc_").unwrap();
            let schema = json!({"id": 4, "uuid": "s\"u", "slug": "person", "properties": {
                "text": {"type": "string"}, "date": {"type": "string", "format": "date"}, "when": {"type": "string", "format": "date-time"},
                "number": {"type": "number"}, "flag": {"type": "boolean"}, "list": {"type": "array"}, "map": {"type": "object"}, "any": {},
                "E \"mail\"": {"type": "string"}}});
            let schema = Schema::from_row(&schema.as_object().unwrap().clone().into()).map(Arc::new);
            let register = known.then(|| Arc::new(Reference { id: 2, uuid: None, slug: Some("r".into()) }));
            let entity = object_entity(&table, &row, register.as_ref(), schema.as_ref());
            let text = entity.to_text();
            prop_assert_eq!(&text, &json::to_text(entity.fields()));
            prop_assert_eq!(&Entity::from_text(&text).unwrap(), &entity);

            // And what is picked is what the fields have.
            let fields = Names::These(picked.clone());
            let properties = Names::These(vec!["list", "E \"mail\"", "gone", "nothing"]);
            prop_assert!(entity.pick(&fields, &properties).keys().all(|name| fields.has(name)));
            let data = entity.fields()["data"].as_object().unwrap();
            let lazily = object_entity(&table, &row, register.as_ref(), schema.as_ref()).pick(&fields, &properties);
            for (name, value) in entity.fields() {
                let expected = fields.has(name).then_some(value);
                match lazily.get(name) {
                    Some(Value::Object(some)) if name == "data" => {
                        let all: Vec<_> = data.iter().filter(|(name, _)| properties.has(name)).collect();
                        prop_assert_eq!(some.iter().collect::<Vec<_>>(), all);
                    }
                    other => prop_assert_eq!(other, expected, "{}", name),
                }
            }
        }
    }
}
