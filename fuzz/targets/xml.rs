//! JSON as XML: every document is well-formed, and an XML reader finds the keys and texts that were written.
//!
//! Input that is JSON is the value itself. All other input drives a generator.

use openregister_webhooks::fuzzing::xml;
use orw_model::json::parse_bytes;
use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

use super::source::Source;

pub(crate) fn check(bytes: &[u8]) {
    let value = parse_bytes(bytes).unwrap_or_else(|_| made(&mut Source::new(bytes), 0));
    let text = xml("ocs", &value);
    let mut reader = Reader::from_str(&text);
    reader.config_mut().check_end_names = true;
    assert!(matches!(next(&mut reader), Event::Decl(_)), "{text}");
    element(&mut reader, "ocs", &value, &text);
    assert_eq!(next(&mut reader), Event::Eof, "{text}");
}

/// The next event that is more than white space.
fn next<'t>(reader: &mut Reader<&'t [u8]>) -> Event<'t> {
    loop {
        match reader.read_event().expect("it is well-formed") {
            Event::Text(text) if text.trim_ascii().is_empty() => {}
            event => return event,
        }
    }
}

/// Reads one element, which must hold `value` under `key`.
fn element(reader: &mut Reader<&[u8]>, key: &str, value: &Value, text: &str) {
    let empty = match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    let tag = match next(reader) {
        Event::Empty(tag) if empty => return assert_eq!(key_of(&tag), carried(key), "{text}"),
        Event::Start(tag) if !empty => tag,
        other => panic!("{other:?} for {key:?}: {text}"),
    };
    assert_eq!(key_of(&tag), carried(key), "{text}");
    match value {
        Value::Array(list) => {
            for value in list {
                element(reader, "element", value, text);
            }
            assert!(matches!(next(reader), Event::End(_)), "{text}");
        }
        Value::Object(map) => {
            for (key, value) in map {
                // An empty key is written as a blank one.
                element(reader, if key.is_empty() { " " } else { key }, value, text);
            }
            assert!(matches!(next(reader), Event::End(_)), "{text}");
        }
        leaf => assert_eq!(content(reader), carried(&leaf_text(leaf)), "{text}"),
    }
}

fn leaf_text(value: &Value) -> String {
    match value {
        Value::Bool(true) => "1".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// The text up to the end of the element.
fn content(reader: &mut Reader<&[u8]>) -> String {
    let mut raw = String::new();
    loop {
        match reader.read_event().expect("it is well-formed") {
            Event::Text(text) => raw.push_str(&text),
            Event::GeneralRef(name) => {
                raw.push_str(&format!("&{};", &*name));
            }
            Event::End(_) => return unescape(&raw).expect("its references are known").into_owned(),
            other => panic!("{other:?} in a text"),
        }
    }
}

/// What an element is called: by its attribute `key`, else by its name.
fn key_of(tag: &BytesStart<'_>) -> String {
    let name = tag.name();
    let mut attributes = tag
        .attributes()
        .map(|attribute| attribute.expect("attributes are well-formed"));
    let raw = attributes.next().map(|key| key.value.into_owned());
    assert!(attributes.next().is_none(), "there is one attribute at most");
    let raw = raw.unwrap_or_else(|| name.as_ref().to_owned());
    unescape(&raw).expect("its references are known").into_owned()
}

/// A text as XML can carry it.
fn carried(text: &str) -> String {
    let replaced = |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    text.chars()
        .map(|c| if replaced(c) { '\u{fffd}' } else { c })
        .collect()
}

const TEXTS: [&str; 24] = [
    "",
    "a",
    "id",
    "user.uid",
    "$or",
    "a b",
    "1",
    "@x",
    "xml",
    "XmlThing",
    "a:b",
    "ü",
    "<",
    "]]>",
    "&amp;",
    "&#0;",
    "\"'",
    "\r\n",
    "\t ",
    "\u{0}\u{1f}",
    "\u{7f}\u{85}",
    "\u{fffe}\u{ffff}",
    "<!--",
    "\u{10ffff}",
];

fn made(source: &mut Source<'_>, depth: usize) -> Value {
    let text = |source: &mut Source<'_>| -> String {
        (0..1 + source.byte() % 3).map(|_| source.pick(&TEXTS)).collect()
    };
    match source.byte() % if depth < 6 { 8 } else { 5 } {
        0 => Value::Null,
        1 => Value::Bool(source.byte().is_multiple_of(2)),
        2 => Value::from(source.byte()),
        3 | 4 => Value::from(text(source)),
        5 => (0..source.byte() % 4).map(|_| made(source, depth + 1)).collect(),
        _ => {
            let members = source.byte() % 5;
            Value::Object(Map::from_iter(
                (0..members).map(|_| (text(source), made(source, depth + 1))),
            ))
        }
    }
}
