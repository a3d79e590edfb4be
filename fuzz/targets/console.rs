//! What clients of the SQL console send: no bytes make a reader panic, a message is taken whole or not at all, a quoted text comes back as
//! it was, and what is wrong with the list of users is said without a password.
//!
//! The first byte chooses the reader; for a login the first line end parts its two messages.

use openregister_webhooks::fuzzing::console;

pub(crate) fn check(bytes: &[u8]) {
    let Some((chosen, rest)) = bytes.split_first() else {
        return;
    };
    match chosen {
        b'm' => messages(rest),
        b's' => {
            // Names and values that end as they must are read; nothing else is.
            assert!(!console::start(rest) || rest.ends_with(b"\0"));
        }
        b'l' => {
            let at = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let last = rest.get(at + 1..).unwrap_or_default();
            assert!(
                !console::login(&rest[..at], last),
                "nobody knows a password that fits"
            );
        }
        b'u' => {
            if let Ok(text) = std::str::from_utf8(rest) {
                users(text);
            }
        }
        _ => {
            if let Ok(text) = std::str::from_utf8(rest) {
                commands(text);
            }
        }
    }
}

fn messages(bytes: &[u8]) {
    let (count, left) = console::messages(bytes);
    assert!(left <= bytes.len() && count * 5 <= bytes.len() - left);
    // Half a message more changes nothing of what was read before.
    let longer = [bytes, b"Q\0\0"].concat();
    assert!(console::messages(&longer).0 >= count);
}

fn commands(text: &str) {
    let understood = console::understood(text).unwrap_or(0);
    assert!(understood <= text.split(';').count());
    let quoted = format!(
        "disable 7 '{}' -- {}",
        text.replace('\'', "''"),
        text.replace('\n', " ")
    );
    assert_eq!(console::reason(&quoted).as_deref(), Some(text));
}

fn users(text: &str) {
    let Some(refusal) = console::users(text) else {
        return;
    };
    for line in text.lines() {
        // A password is what follows the name; short ones occur in what is said, too.
        if let Some((_, password)) = line.split_once(':')
            && password.len() >= 40
        {
            assert!(!refusal.contains(password), "{refusal}");
        }
    }
}
