//! Templates: no text and no data make rendering panic, take much time, or give something that is no JSON or too large; rendering twice
//! gives the same. The template is what comes before the first NUL byte, the data is the JSON after it.

use openregister_webhooks::template::Template;
use serde_json::{Map, Value};

/// As in `src/template/error.rs`.
const LARGEST: usize = 1024 * 1024;
/// The CPU time of one rendering with all checks on, in milliseconds. Without optimisation it takes longer.
const MOST_MS: u128 = if cfg!(debug_assertions) { 5_000 } else { 500 };

pub(crate) fn check(bytes: &[u8]) {
    let (text, data) = match bytes.iter().position(|byte| *byte == 0) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &b"{}"[..]),
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let data: Map<String, Value> = orw_model::json::parse_bytes(data)
        .ok()
        .and_then(|value| match value {
            Value::Object(map) => Some(map),
            _ => None,
        })
        .unwrap_or_default();
    let Ok(template) = Template::parse(text) else {
        return;
    };
    assert_eq!(template.text(), text);
    let begun = cpu_ms();
    let rendered = template.render(&data);
    assert!(cpu_ms() - begun < MOST_MS, "it took {} ms", cpu_ms() - begun);
    if let Ok(body) = &rendered {
        assert!(body.len() <= LARGEST);
        serde_json::from_str::<&serde_json::value::RawValue>(body).expect("a body is JSON");
    }
    assert_eq!(template.render(&data), rendered);
}

fn cpu_ms() -> u128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u128::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1000 + u128::try_from(now.tv_nsec).unwrap_or_default() / 1_000_000
}
