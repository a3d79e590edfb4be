//! JSON as others wrote it: the readers never panic, agree with each other and with `serde_json`, and what they read is written
//! back unchanged. Each input is taken as bytes, and as text if it is UTF-8.

use orw_model::json::{DEEPEST, STACK, parse, parse_bytes, parse_deep, parse_deep_object};
use orw_model::{parse_row, parse_row_beside};
use serde_json::Value;

/// Values of [`DEEPEST`] levels take as much stack as the program's own threads have.
pub(crate) fn check(bytes: &[u8]) {
    if bytes.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() < 100 {
        return laws(bytes);
    }
    std::thread::scope(|scope| {
        let deep = std::thread::Builder::new().stack_size(STACK);
        let done = deep
            .spawn_scoped(scope, || laws(bytes))
            .expect("a thread can be started");
        if let Err(panic) = done.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn laws(bytes: &[u8]) {
    let read = parse_bytes(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        assert!(read.is_err(), "bytes that are no UTF-8 were read");
        return;
    };
    // Errors name the same place, whichever reader it is.
    let message = |e: serde_json::Error| e.to_string();
    let read = read.map_err(message);
    assert_eq!(parse(text).map_err(message), read);
    if let Ok(value) = &read {
        assert_eq!(parse_deep(text, DEEPEST).as_ref().ok(), Some(value));
        assert_eq!(
            parse(&value.to_string()).as_ref().ok(),
            Some(value),
            "it is written back differently"
        );
    }
    like_serde_json(text, read.as_ref().ok());
    deep(text);
    rows(text);
}

/// A row that is read beside another one, which is in the first line, is as one that is read alone.
fn rows(text: &str) {
    let (one, two) = text.split_once('\n').unwrap_or((text, text));
    let Ok(one) = parse_row(one) else {
        return;
    };
    match (parse_row_beside(two, &one), parse_row(two)) {
        (Ok(beside), Ok(alone)) => assert_eq!(beside, alone),
        (beside, alone) => assert_eq!(beside.is_ok(), alone.is_ok()),
    }
}

/// `serde_json` takes objects with keys of its own for something else; everything else it reads as we do.
fn like_serde_json(text: &str, ours: Option<&Value>) {
    let theirs = serde_json::from_str::<Value>(text).ok();
    let own_keys = |value: &Value| value.to_string().contains("$serde_json::private");
    match ours {
        Some(value) if own_keys(value) => {}
        Some(_) => assert_eq!(ours, theirs.as_ref()),
        // An object that ends early may have begun with such a key, but nothing that we refuse is JSON.
        None => assert_eq!(theirs, None),
    }
}

/// Up to [`DEEPEST`] levels are read, and an object by both functions.
fn deep(text: &str) {
    let object = parse_deep_object(text, DEEPEST).ok().map(Value::Object);
    let Ok(value) = parse_deep(text, DEEPEST) else {
        assert_eq!(object, None);
        return;
    };
    assert_eq!(object.is_some(), value.is_object());
    assert!(object.is_none_or(|object| object == value));
    let written = value.to_string();
    assert_eq!(parse_deep(&written, DEEPEST).as_ref().ok(), Some(&value));
    assert!(levels(&written) <= DEEPEST);
}

/// How many arrays and objects of a text that is JSON are open at most.
fn levels(text: &str) -> usize {
    let (mut now, mut most, mut quoted, mut escaped) = (0, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                now += 1;
                most = most.max(now);
            }
            b']' | b'}' if !quoted => now -= 1,
            _ => {}
        }
    }
    most
}
