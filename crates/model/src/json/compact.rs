//! Writes JSON without the spaces between its parts, as reading and writing it does, but without reading it.

/// The most keys of one object; to look for two that are the same would take too long with more.
const MOST_KEYS: usize = 64;

/// Writes a valid text of JSON behind `out` as reading and writing it would. What this cannot promise for (escapes, exponents, two keys that are the
/// same) is not written: then nothing is, and it returns `false`.
pub(crate) fn compact(out: &mut String, text: &str) -> bool {
    let before = out.len();
    let done = !text.contains('\\') && write(out, text).is_some();
    if !done {
        out.truncate(before);
    }
    done
}

/// The text has no escapes.
fn write(out: &mut String, text: &str) -> Option<()> {
    // The objects that are open, by where their keys begin in `keys`; `None` for a list.
    let (mut open, mut keys): (Vec<Option<usize>>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut rest = text;
    // Whether a string that comes next is a key.
    let mut key_next = false;
    while let Some(&first) = rest.as_bytes().first() {
        let length = match first {
            b' ' | b'\t' | b'\n' | b'\r' => {
                rest = &rest[1..];
                continue;
            }
            b'"' => {
                let length = rest[1..].find('"')? + 2;
                if key_next {
                    let begin = open.last().copied().flatten()?;
                    let key = &rest[..length];
                    if keys.len() - begin >= MOST_KEYS || keys[begin..].contains(&key) {
                        return None;
                    }
                    keys.push(key);
                    key_next = false;
                }
                length
            }
            b'{' => {
                open.push(Some(keys.len()));
                key_next = true;
                1
            }
            b'[' => {
                open.push(None);
                1
            }
            b'}' | b']' => {
                if let Some(begin) = open.pop()? {
                    keys.truncate(begin);
                }
                key_next = false;
                1
            }
            b',' => {
                key_next = open.last().copied().flatten().is_some();
                1
            }
            b':' => 1,
            b't' | b'f' | b'n' => rest.bytes().take_while(u8::is_ascii_lowercase).count(),
            b'0'..=b'9' | b'-' => {
                let number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
                let length = rest.bytes().take_while(number).count();
                if matches!(rest.as_bytes().get(length), Some(b'e' | b'E' | b'+')) {
                    return None;
                }
                length
            }
            _ => return None,
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json;

    fn value() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec![
            "null",
            "true",
            "false",
            "0",
            "-1.50",
            "1e5",
            "12345678901234567890.10",
            "\"\"",
            "\" a, b: {\"",
            "\"\u{fc}\u{7f}\"",
            "\"\\n\"",
        ]);
        leaf.prop_map(str::to_owned).prop_recursive(4, 24, 4, |inner| {
            let key = prop::sample::select(vec!["\"a\"", "\"b\"", "\"a b\"", "\"\"", "\"\\u0061\""]);
            prop_oneof![
                (prop::collection::vec(inner.clone(), 0..4), any::<bool>()).prop_map(
                    |(items, space)| format!("[{}]", items.join(if space { " ,\n " } else { "," }))
                ),
                (prop::collection::vec((key, inner), 0..4), any::<bool>()).prop_map(|(items, space)| {
                    let colon = if space { " : " } else { ":" };
                    let each: Vec<String> = items
                        .iter()
                        .map(|(key, value)| format!("{key}{colon}{value}"))
                        .collect();
                    format!("{{{}}}", each.join(if space { ", " } else { "," }))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_reading_and_writing_makes(text in value()) {
            let mut out = "before".to_owned();
            let done = compact(&mut out, &text);
            if done {
                let read = json::parse_deep(&text, json::DEEPEST).unwrap();
                prop_assert_eq!(&out["before".len()..], read.to_string());
            } else {
                prop_assert_eq!(out, "before");
            }
        }
    }

    #[test]
    fn ordinary_values_are_written() {
        for (text, expected) in [
            (r#"["one", "two"]"#, r#"["one","two"]"#),
            (
                r#"{"a": {"a": 1.50}, "b" :[{"a":null},{"a": true}]}"#,
                r#"{"a":{"a":1.50},"b":[{"a":null},{"a":true}]}"#,
            ),
            ("[ ]", "[]"),
        ] {
            let mut out = String::new();
            assert!(compact(&mut out, text), "{text}");
            assert_eq!(out, expected);
        }
        for text in [r#"{"a":1,"a":2}"#, "[1e5]", r#"["\n"]"#] {
            assert!(!compact(&mut String::new(), text), "{text}");
        }
    }
}
