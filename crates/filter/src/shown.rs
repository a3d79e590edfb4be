//! Values as they stand in messages.

use crate::value::Value;

/// `value` as JSON, cut after 80 characters.
pub(crate) fn shown(value: &Value<'_>) -> String {
    let mut out = String::new();
    show(value, &mut out);
    if out.chars().count() > 80 {
        out = out.chars().take(77).chain("...".chars()).collect();
    }
    out
}

fn show(value: &Value<'_>, out: &mut String) {
    use std::fmt::Write as _;
    // The caller cuts the text anyway.
    if out.len() > 400 {
        return;
    }
    let _ = match value {
        Value::Null => write!(out, "null"),
        Value::Bool(b) => write!(out, "{b}"),
        Value::Int(i) => write!(out, "{i}"),
        Value::Float(f) => write!(out, "{f:?}"),
        Value::Text(text) => {
            let start: String = text.chars().take(80).collect();
            write!(out, "{}", serde_json::Value::String(start))
        }
        Value::Alias(alias) => write!(out, "{:?}", alias.first()),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate().take(20) {
                out.push_str(if index > 0 { ", " } else { "" });
                show(item, out);
            }
            write!(out, "]")
        }
        Value::Map(map) => {
            out.push('{');
            for (index, (key, item)) in map.entries().iter().enumerate().take(20) {
                out.push_str(if index > 0 { ", " } else { "" });
                let start: String = key.chars().take(80).collect();
                let _ = write!(out, "{}: ", serde_json::Value::String(start));
                show(item, out);
            }
            write!(out, "}}")
        }
    };
}
