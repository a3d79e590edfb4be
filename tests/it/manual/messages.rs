//! `docs/messages.md` and the source say the same: every message of the page is in the source, and every error of the parts below is on the
//! page.

use std::collections::BTreeSet;
use std::path::Path;

use super::root;

/// The errors of these files are on the page, every one.
const COMPLETE: [&str; 13] = [
    "src/run/error.rs",
    "src/capture/install/error.rs",
    "src/capture/adopt.rs",
    "src/registry/vault.rs",
    "src/registry/error.rs",
    "src/listener_tls.rs",
    "src/ocs/local_accounts.rs",
    "src/proxy/upstream.rs",
    "src/pipeline/jobs/start.rs",
    "crates/egress/src/connect.rs",
    "crates/egress/src/proxy/tunnel.rs",
    "crates/egress/src/refused.rs",
    "crates/egress/src/trust.rs",
];

/// A message that is nothing but the errors of others, or of the database, is on no page.
fn says_something(message: &str) -> bool {
    message.chars().filter(|c| c.is_alphabetic()).count() > 25
}

/// The text of each string literal, with `…` for each placeholder. Comments, characters and raw strings are skipped.
fn literals(source: &str) -> Vec<String> {
    let code: Vec<&str> = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    let mut found = Vec::new();
    let mut rest = code.as_str();
    while let Some(start) = rest.find('"') {
        let before = &rest[..start];
        rest = &rest[start + 1..];
        if before.ends_with(['\'', '\\']) {
            continue;
        }
        if before.trim_end_matches('#').ends_with('r') {
            let hashes = before.len() - before.trim_end_matches('#').len();
            let close = format!("\"{}", "#".repeat(hashes));
            rest = rest.find(&close).map_or("", |end| &rest[end + close.len()..]);
            continue;
        }
        let mut text = String::new();
        let mut chars = rest.char_indices();
        let mut end = rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => match chars.next() {
                    // The line goes on.
                    Some((_, '\n')) => {
                        let mut ahead = chars.clone();
                        while ahead.next().is_some_and(|(_, c)| c.is_whitespace()) {
                            chars.next();
                        }
                    }
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, c)) => text.push(c),
                    None => {}
                },
                c => text.push(c),
            }
        }
        rest = &rest[end..];
        found.push(placeholders(&text));
    }
    found
}

fn placeholders(text: &str) -> String {
    let mut shown = String::new();
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    shown.push('…');
                }
            }
            c if depth == 0 => shown.push(c),
            _ => {}
        }
    }
    shown
}

/// The messages in the first column of the page's tables.
fn listed(page: &str) -> Vec<String> {
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|line| line.split(" | ").next()?.strip_prefix("| "));
    let messages = cells.flat_map(|cell| {
        // Backticks within a message are doubled.
        let cell = cell.replace("``", "\u{0}");
        let quoted: Vec<String> = cell
            .split('`')
            .skip(1)
            .step_by(2)
            .map(|text| text.replace('\u{0}', "`"))
            .collect();
        quoted
    });
    messages.collect()
}

/// Whether the pieces between `…` follow each other in the text.
fn holds(text: &str, message: &str) -> bool {
    let mut rest = text;
    message.split('…').all(|piece| match rest.find(piece.trim()) {
        Some(at) => {
            rest = &rest[at + piece.trim().len()..];
            true
        }
        None => false,
    })
}

fn sources(folder: &Path, all: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path
            .extension()
            .is_some_and(|kind| kind == "rs" || kind == "html")
        {
            all.extend(literals(&std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn the_page_of_messages_and_the_source_say_the_same() {
    let page = std::fs::read_to_string(root().join("docs/messages.md")).unwrap();
    let listed = listed(&page);
    assert!(listed.len() > 100, "{}", listed.len());
    let mut said = BTreeSet::new();
    for folder in ["src", "crates/egress/src", "crates/filter/src"] {
        sources(&root().join(folder), &mut said);
    }
    let aged: Vec<&String> = listed
        .iter()
        .filter(|message| !said.iter().any(|text| holds(text, message)))
        .collect();
    assert!(
        aged.is_empty(),
        "docs/messages.md has what the program no longer says: {aged:#?}"
    );
    let mut missing = Vec::new();
    for file in COMPLETE {
        let source = std::fs::read_to_string(root().join(file)).unwrap();
        for part in source.split("#[error(").skip(1) {
            if part.starts_with("transparent") {
                continue;
            }
            let message = literals(part).swap_remove(0);
            if says_something(&message) && !listed.iter().any(|row| holds(&message, row)) {
                missing.push(format!("{file}: {message}"));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "docs/messages.md has no row for: {missing:#?}"
    );
}
