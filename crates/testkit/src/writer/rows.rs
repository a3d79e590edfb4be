//! Rows as JSON, and the texts in them.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

/// Columns and their values.
pub type Row = Map<String, Value>;

/// The organisation that the seed rows hold.
pub const ORGANISATION: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

pub(super) fn uuid() -> String {
    Uuid::now_v7().to_string()
}

pub(super) fn iso(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

/// `json!({…})` as a row.
pub(super) fn object_of(value: Value) -> Row {
    match value {
        Value::Object(row) => row,
        other => Row::from_iter([("value".to_owned(), other)]),
    }
}

pub(super) fn json_text(row: &Row) -> String {
    Value::Object(row.clone()).to_string()
}

pub(super) fn columns_of(row: &Row) -> String {
    let quoted: Vec<String> = row.keys().map(|name| quote(name)).collect();
    quoted.join(", ")
}

pub(super) fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
