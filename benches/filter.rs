//! What one evaluation of a filter costs, and what it costs to match one event against 10,000 registrations.
//!
//! Times are wall-clock medians of many batches. Where `php` is installed, the same filters are evaluated in the same run by a
//! few lines of plain PHP (`filter.php`), for orientation.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use openregister_webhooks::filter::{Document, Filter};
use openregister_webhooks::openregister::EventClass;
use serde_json::{Value, json};

/// Name, filter, and the nanoseconds that PHPMongoQuery was measured to take for a filter of this kind.
fn filters() -> [(&'static str, Value, u32); 4] {
    [
        ("one text", json!({"user.uid": "bob"}), 700),
        (
            "two fields",
            json!({"event.object.register": "my-register", "event.object.data.count": {"$gte": 5}}),
            1_700,
        ),
        (
            "$or, regex",
            json!({"$or": [{"user.uid": "alice"}, {"event.object.data.title": "/^example/i"}]}),
            3_100,
        ),
        (
            "$in",
            json!({"event.object.schema": {"$in": ["people", "places", "things", "my-schema"]}}),
            2_400,
        ),
    ]
}

fn document() -> Value {
    json!({
        "event": {
            "class": "OCA\\OpenRegister\\Event\\ObjectCreatedEvent",
            "object": {
                "id": 123, "uuid": "550e8400-e29b-41d4-a716-446655440000", "register": "my-register", "schema": "my-schema",
                "data": {"title": "Example Object", "description": "Object description", "count": 5, "price": 9.99,
                         "tags": ["a", "b", "c"], "items": [{"x": 1}, {"x": 2}], "nested": {"deep": {"v": "42"}}},
                "organisation": "org-uuid", "created": "2024-01-15T10:30:00+00:00", "updated": "2024-01-15T10:30:00+00:00"
            }
        },
        "user": {"uid": "bob", "displayName": "Bob B.", "groups": ["editors"]},
        "group": ["editors"], "groups": ["editors"], "time": 1_711_971_024
    })
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let json = document();
    let document = Document::from_json(&json).expect("the document is valid");
    let php = php(&json);

    writeln!(out, "evaluation of one filter, nanoseconds (median of batches)")?;
    writeln!(
        out,
        "{:<12} {:>9} {:>11} {:>14} {:>8}",
        "filter", "ours", "plain PHP", "PHPMongoQuery*", "faster*"
    )?;
    for (place, (name, filter, reference)) in filters().into_iter().enumerate() {
        let filter = Filter::parse(&filter).expect("the filter is valid");
        assert_eq!(filter.matches(&document), Ok(true), "{name}");
        let ours = median(|| {
            let _ = black_box(black_box(&filter).matches(black_box(&document)));
        });
        let php = php
            .as_ref()
            .map_or_else(|| "-".to_owned(), |times| format!("{:.0}", times[place]));
        writeln!(
            out,
            "{name:<12} {ours:>9} {php:>11} {reference:>14} {:>7.0}x",
            f64::from(reference) / ours.0
        )?;
    }
    let build = median(|| {
        let _ = black_box(Document::from_json(black_box(&json)));
    });
    writeln!(out, "{:<12} {build:>9}", "document")?;
    writeln!(
        out,
        "* measured earlier on the reference machine; the document is built once for an event\n"
    )?;
    registrations(&mut out, &document)
}

/// 10,000 registrations over the 33 classes: an event costs what those of its class cost.
fn registrations(out: &mut impl io::Write, document: &Document<'_>) -> io::Result<()> {
    const COUNT: usize = 10_000;
    let filter = |n: usize| {
        // Every fifth matches.
        let uid = if n.is_multiple_of(5) {
            "bob".to_owned()
        } else {
            format!("user{n}")
        };
        Filter::parse(&json!({"user.uid": uid, "event.object.register": "my-register"}))
            .expect("the filter is valid")
    };
    let mut by_class: Vec<Vec<Filter>> = EventClass::all().map(|_| Vec::new()).collect();
    for n in 0..COUNT {
        by_class[n % EventClass::COUNT].push(filter(n));
    }
    let class = EventClass::all().next().expect("there are 33");
    let alone: Vec<Filter> = (0..by_class[class.index()].len())
        .map(|n| filter(n * EventClass::COUNT))
        .collect();
    let count = |filters: &[Filter]| filters.iter().filter(|f| f.matches(document) == Ok(true)).count();

    writeln!(
        out,
        "one event against the registrations of its class, microseconds"
    )?;
    for (name, filters) in [
        ("its class among 10,000", &by_class[class.index()]),
        ("its class alone", &alone),
    ] {
        let time = median(|| {
            black_box(count(black_box(filters)));
        });
        writeln!(
            out,
            "{name:<24} {:>5} registrations {:>9.1} µs, {} match",
            filters.len(),
            time.0 / 1000.0,
            count(filters)
        )?;
    }
    let all = median(|| {
        black_box(by_class.iter().map(|f| count(f)).sum::<usize>());
    });
    writeln!(
        out,
        "{:<24} {COUNT:>5} registrations {:>9.1} µs",
        "(all, without index)",
        all.0 / 1000.0
    )
}

/// Nanoseconds.
struct Nanos(f64);

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.0}", self.0))
    }
}

/// The median time of one call, over batches of about 0.1 ms: short enough that on a busy machine most are not interrupted.
fn median(mut call: impl FnMut()) -> Nanos {
    let mut batch = 1_u32;
    let mut time = |batch: u32| {
        let start = Instant::now();
        for _ in 0..batch {
            call();
        }
        start.elapsed()
    };
    while time(batch) < Duration::from_micros(100) {
        batch *= 2;
    }
    let mut times: Vec<f64> = (0..2001)
        .map(|_| time(batch).as_secs_f64() * 1e9 / f64::from(batch))
        .collect();
    times.sort_by(f64::total_cmp);
    Nanos(times[times.len() / 2])
}

/// The same filters in plain PHP; nothing where there is no `php`.
fn php(document: &Value) -> Option<Vec<f64>> {
    let mut child = Command::new("php")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/filter.php"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let filters: Vec<_> = filters().into_iter().map(|(_, filter, _)| filter).collect();
    let input = json!({"document": document, "filters": filters}).to_string();
    child.stdin.take()?.write_all(input.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    let times: Vec<f64> = serde_json::from_slice(&output.stdout).ok()?;
    (times.len() == filters.len()).then_some(times)
}
