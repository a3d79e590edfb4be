//! Writes JSON values as the XML that Nextcloud answers.
//!
//! Guarantee: the document is well-formed for every value. It is indented by one blank a level. A list becomes `<element>`s; null,
//! the empty list and the empty object become `<a/>`; `""` becomes `<a></a>`; true becomes `1`, and false becomes nothing.
//! A key that is no XML name, at which Nextcloud answers an empty body, becomes an attribute: `<element key="$or">`.
//! A character that XML cannot hold becomes U+FFFD.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// A document with one root element.
pub(crate) fn document(root: &str, value: &Value) -> String {
    let mut out = String::from("<?xml version=\"1.0\"?>\n");
    element(&mut out, 0, root, value);
    out
}

fn element(out: &mut String, depth: usize, key: &str, value: &Value) {
    for _ in 0..depth {
        out.push(' ');
    }
    let name = if is_name(key) { key } else { "element" };
    out.push('<');
    out.push_str(name);
    // The elements of a list have no key. A key that is no name is written as an attribute.
    if name != key && !key.is_empty() {
        out.push_str(" key=\"");
        escape(out, key, true);
        out.push('"');
    }
    match value {
        Value::Null => out.push_str("/>\n"),
        Value::Array(list) if list.is_empty() => out.push_str("/>\n"),
        Value::Object(map) if map.is_empty() => out.push_str("/>\n"),
        Value::Array(list) => {
            out.push_str(">\n");
            for value in list {
                element(out, depth + 1, "element", value);
            }
            close(out, depth, name);
        }
        Value::Object(map) => {
            out.push_str(">\n");
            members(out, depth + 1, map);
            close(out, depth, name);
        }
        Value::Bool(true) => text(out, name, "1"),
        Value::Bool(false) => text(out, name, ""),
        Value::Number(number) => text(out, name, &number.to_string()),
        Value::String(string) => text(out, name, string),
    }
}

fn members(out: &mut String, depth: usize, map: &Map<String, Value>) {
    for (key, value) in map {
        // The empty key is written as a blank: as an empty attribute it would look like an element of a list.
        element(out, depth, if key.is_empty() { " " } else { key }, value);
    }
}

fn close(out: &mut String, depth: usize, name: &str) {
    for _ in 0..depth {
        out.push(' ');
    }
    let _ = writeln!(out, "</{name}>");
}

fn text(out: &mut String, name: &str, text: &str) {
    out.push('>');
    escape(out, text, false);
    let _ = writeln!(out, "</{name}>");
}

/// Escapes what XML reserves. In an attribute also line breaks and tabs, which a reader would turn into blanks.
fn escape(out: &mut String, text: &str, attribute: bool) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            '\n' if attribute => out.push_str("&#10;"),
            '\t' if attribute => out.push_str("&#9;"),
            '\n' | '\t' => out.push(c),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
}

/// Whether a key is an XML name. The colon is not allowed: it belongs to namespaces.
fn is_name(key: &str) -> bool {
    let start = |c: char| {
        matches!(c,
            'A'..='Z' | '_' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
            | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}'
            | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
            | '\u{10000}'..='\u{effff}')
    };
    let further = |c: char| {
        start(c)
            || matches!(c, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
    };
    let mut chars = key.chars();
    chars.next().is_some_and(start)
        && chars.all(further)
        && !key.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("xml"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn values_are_written_as_nextcloud_writes_them() {
        let value = json!({
            "appId": null, "eventFilter": [], "map": {}, "userIdFilter": "", "yes": true, "no": false, "n": 1.5,
            "text": "a<b>&\"c\"\r\n\u{1}", "list": [{"id": 1}, 2, "x"],
        });
        assert_eq!(
            document("ocs", &value),
            "<?xml version=\"1.0\"?>\n<ocs>\n <appId/>\n <eventFilter/>\n <map/>\n <userIdFilter></userIdFilter>\n \
             <yes>1</yes>\n <no></no>\n <n>1.5</n>\n <text>a&lt;b&gt;&amp;&quot;c&quot;&#13;\n\u{fffd}</text>\n <list>\n  \
             <element>\n   <id>1</id>\n  </element>\n  <element>2</element>\n  <element>x</element>\n </list>\n</ocs>\n"
        );
    }

    #[test]
    fn keys_that_are_no_names_are_carried() {
        let value = json!({"user.uid": "bob", "$or": [{"a b": 1}], "1": 2, "@x": 3, "": 4, "xml": 5, "a:b": 6, "ü": 7});
        assert_eq!(
            document("f", &value),
            "<?xml version=\"1.0\"?>\n<f>\n <user.uid>bob</user.uid>\n <element key=\"$or\">\n  <element>\n   \
             <element key=\"a b\">1</element>\n  </element>\n </element>\n <element key=\"1\">2</element>\n \
             <element key=\"@x\">3</element>\n <element key=\" \">4</element>\n <element key=\"xml\">5</element>\n \
             <element key=\"a:b\">6</element>\n <ü>7</ü>\n</f>\n"
        );
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<String>().prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_is_well_formed(value in any_value()) {
            let text = document("ocs", &value);
            let mut reader = quick_xml::Reader::from_str(&text);
            reader.config_mut().check_end_names = true;
            loop {
                match reader.read_event() {
                    Ok(quick_xml::events::Event::Eof) => break,
                    Ok(quick_xml::events::Event::Start(tag) | quick_xml::events::Event::Empty(tag)) => {
                        for attribute in tag.attributes() {
                            prop_assert!(attribute.is_ok(), "{text}");
                        }
                    }
                    Ok(_) => {}
                    Err(error) => prop_assert!(false, "{error}: {text}"),
                }
            }
        }
    }
}
