//! Queries and forms, as the API reads them: no input makes it panic; what was read has the bounds that PHP has, and reads the same
//! when it is written out again.
//!
//! The first line end, if there is one, ends the value of `Content-Type` for a whole request; what follows it is the body.

use std::fmt::Write as _;

use openregister_webhooks::fuzzing::{field, form, segment};
use serde_json::{Map, Value};

pub(crate) fn check(bytes: &[u8]) {
    let (kind, body) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (&b"application/x-www-form-urlencoded"[..], bytes),
    };
    if let Some(read) = form(body) {
        laws(&read);
        whole_request(&read);
    }
    let _ = field(kind, body, &Map::new(), "event");
    if let Ok(text) = std::str::from_utf8(body) {
        segments(text);
    }
}

fn laws(read: &Map<String, Value>) {
    for value in read.values() {
        assert!(depth(value) <= 65, "nested deeper than a form may");
    }
    let written = written(read);
    // PHP refuses more than 1,000 parameters; writing them out does not make more.
    let again = form(written.as_bytes());
    assert_eq!(again.as_ref(), Some(read), "written out: {written}");
}

/// A parameter of the body comes before one of the query with the same name.
fn whole_request(read: &Map<String, Value>) {
    let query = Map::from_iter([("event".to_owned(), Value::from("of the query"))]);
    let body = written(read);
    let kind = b"application/x-www-form-urlencoded";
    let expected = read.get("event").unwrap_or(&query["event"]);
    assert_eq!(
        field(kind, body.as_bytes(), &query, "event").as_ref(),
        Some(expected),
        "{body}"
    );
}

/// A segment that is encoded is decoded to what it was, and one without a percent sign stays what it is.
fn segments(text: &str) {
    let mut encoded = String::new();
    for byte in text.bytes() {
        let _ = write!(encoded, "%{byte:02X}");
    }
    assert_eq!(segment(&encoded), text);
    if !text.contains('%') {
        assert_eq!(segment(text), text);
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::String(_) => 1,
        Value::Array(list) => 1 + list.iter().map(depth).max().expect("a form makes no empty list"),
        Value::Object(map) => {
            1 + map
                .values()
                .map(depth)
                .max()
                .expect("a form makes no empty object")
        }
        other => panic!("a form has texts, not {other}"),
    }
}

/// The form that says this.
fn written(read: &Map<String, Value>) -> String {
    let mut out = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in read {
        parameters(name, value, &mut |name, text| {
            out.append_pair(name, text);
        });
    }
    out.finish()
}

fn parameters(name: &str, value: &Value, add: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => add(name, text),
        Value::Array(list) => {
            for (at, value) in list.iter().enumerate() {
                parameters(&format!("{name}[{at}]"), value, add);
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                parameters(&format!("{name}[{key}]"), value, add);
            }
        }
        other => panic!("a form has texts, not {other}"),
    }
}
