//! Reads deeply nested JSON without recursion.
//!
//! Guarantee: reading uses the heap and never the stack, however deep the text is nested. A text beyond the limit is refused before
//! a deeper value is built.

use serde::de::Error as _;
use serde_json::{Error, Map, Value};

/// A container whose end is not yet reached.
enum Open {
    Array(Vec<Value>),
    /// The text is the key of the next value.
    Object(Map<String, Value>, String),
}

/// How many levels of arrays and objects `text` has. `text` need not be JSON.
pub(super) fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Reads one value that has at most `most` levels of arrays and objects.
pub(super) fn parse(text: &str, most: usize) -> Result<Value, Error> {
    let mut input = Input { text, at: 0 };
    let mut open: Vec<Open> = Vec::new();
    loop {
        input.skip_blanks();
        let begins = input.peek();
        if matches!(begins, Some(b'[' | b'{')) && open.len() >= most {
            return Err(Error::custom(format!("nested deeper than {most} levels")));
        }
        let mut value = match begins {
            Some(b'[') => {
                input.at += 1;
                if !input.takes(b']') {
                    open.push(Open::Array(Vec::new()));
                    continue;
                }
                Value::Array(Vec::new())
            }
            Some(b'{') => {
                input.at += 1;
                if !input.takes(b'}') {
                    let key = input.key()?;
                    open.push(Open::Object(Map::new(), key));
                    continue;
                }
                Value::Object(Map::new())
            }
            _ => input.scalar()?,
        };
        // Puts the value into its container, and closes the containers that end after it.
        loop {
            value = match open.pop() {
                None => return input.end().map(|()| value),
                Some(Open::Array(mut items)) => {
                    items.push(value);
                    if input.takes(b',') {
                        open.push(Open::Array(items));
                        break;
                    }
                    input.needs(b']')?;
                    Value::Array(items)
                }
                Some(Open::Object(mut entries, key)) => {
                    entries.insert(key, value);
                    if input.takes(b',') {
                        let key = input.key()?;
                        open.push(Open::Object(entries, key));
                        break;
                    }
                    input.needs(b'}')?;
                    Value::Object(entries)
                }
            };
        }
    }
}

/// The text, and how many bytes are read. This is always the boundary of a character.
struct Input<'t> {
    text: &'t str,
    at: usize,
}

impl Input<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Skips white space, and `byte` if it follows.
    fn takes(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn needs(&mut self, byte: u8) -> Result<(), Error> {
        if self.takes(byte) {
            return Ok(());
        }
        Err(Error::custom(format!(
            "expected {:?} at byte {}",
            char::from(byte),
            self.at
        )))
    }

    fn end(&mut self) -> Result<(), Error> {
        self.skip_blanks();
        if self.at == self.text.len() {
            return Ok(());
        }
        Err(Error::custom(format!("trailing characters at byte {}", self.at)))
    }

    /// Reads a key and the colon after it.
    fn key(&mut self) -> Result<String, Error> {
        self.skip_blanks();
        let key = serde_json::from_str(self.token())?;
        self.needs(b':')?;
        Ok(key)
    }

    /// Reads a text, a number, `true`, `false` or `null`.
    fn scalar(&mut self) -> Result<Value, Error> {
        serde_json::from_str(self.token())
    }

    /// Skips a text, or everything up to a character that may follow another scalar.
    fn token(&mut self) -> &str {
        let rest = &self.text[self.at..];
        let bytes = rest.as_bytes();
        let length = if bytes.first() == Some(&b'"') {
            let mut at = 1;
            loop {
                match bytes.get(at) {
                    None => break bytes.len(),
                    Some(b'"') => break at + 1,
                    Some(b'\\') => at += 2,
                    Some(_) => at += 1,
                }
            }
        } else {
            let ends = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b']' | b'}');
            bytes.iter().position(ends).unwrap_or(bytes.len())
        };
        self.at += length;
        &rest[..length]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn depth_counts_brackets_outside_of_texts() {
        for (text, levels) in [
            ("1", 0),
            ("[]", 1),
            ("{\"a\":[1,{}]}", 3),
            ("[[],[[]]]", 3),
            ("\"[[\"", 0),
            ("[\"\\\"[[\"]", 1),
            ("[\"\\\\\",[]]", 2),
            ("]]]][", 1),
        ] {
            assert_eq!(depth(text), levels, "{text}");
        }
    }

    #[test]
    fn the_limit_is_exact() {
        let nested = |n| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(&nested(10), 10).is_ok());
        let error = parse(&nested(11), 10).unwrap_err().to_string();
        assert_eq!(error, "nested deeper than 10 levels");
        let nested = |n| format!("{}1{}", "{\"a\":".repeat(n), "}".repeat(n));
        assert!(parse(&nested(10), 10).is_ok());
        assert!(parse(&nested(11), 10).is_err());
        // A million levels use no stack.
        assert!(parse(&"[".repeat(1_000_000), 10).is_err());
        assert!(parse(&"[".repeat(500), 1000).is_err());
    }

    #[test]
    fn it_refuses_what_serde_json_refuses() {
        for text in [
            "",
            " ",
            "[",
            "{",
            "]",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{1:1}",
            "[1 2]",
            "01",
            "1.",
            "nul",
            "nulll",
            "{} {}",
            "[]]",
            "\"\\ud800\"",
            "\"a",
            "\"a\\",
            "[\"a\nb\"]",
            "{\"a\":1]",
            "[1}",
            "-",
            "+1",
            "[1:2]",
            "\u{a0}1",
            "ä",
        ] {
            assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
            assert!(parse(text, 100).is_err(), "{text}");
        }
    }

    proptest! {
        /// Texts made of pieces of JSON, well formed or not.
        #[test]
        fn it_reads_what_serde_json_reads(
            parts in prop::collection::vec(prop::sample::select(vec![
                "[", "]", "{", "}", ",", ":", "\"a\"", "\"\\u00e4\\\"[\"", "1", "-0.5e3", "null", "true", " ", "\n", "\"ä\"", "12345678901234567890123",
            ]), 0..24)
        ) {
            let text = parts.concat();
            let expected = serde_json::from_str::<Value>(&text).ok();
            prop_assert_eq!(parse(&text, 100).ok().map(|v| v.to_string()), expected.map(|v| v.to_string()), "{}", text);
        }
    }
}
