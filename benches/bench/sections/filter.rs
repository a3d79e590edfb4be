//! The cost of one evaluation of a filter, of hostile filters, and of matching one event against 10,000 registrations.
//!
//! Times are wall-clock times of many short batches; things that are compared take turns. The minimum is the cost without
//! disturbance, the median the cost on this machine. If `php` is installed, a few lines of plain PHP (`filter.php`) evaluate the
//! same filters in the same run, for orientation.
//!
//! `bench --evaluate NAME COUNT` only evaluates one filter COUNT times. The difference of two runs under `valgrind --tool=callgrind` is
//! the number of instructions, which does not depend on the load of the machine.
#![allow(clippy::disallowed_methods, reason = "it measures wall-clock times")]

use std::hint::black_box;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::DateTime;
use openregister_webhooks::lifecycle::{Actor, ActorState, Event, EventId, Lane, States};
use openregister_webhooks::pipeline::{Metrics, matches};
use openregister_webhooks::registry::{
    Auth, BodyOptions, DataMode, EventPattern, EventSource, Format, HttpMethod, Limits, Ordering,
    RetryPolicy, Snapshot, Status, Webhook, WebhookId,
};
use orw_filter::{Document, Filter};
use orw_model::{Entity, EventClass};
use serde_json::{Value, json};

use crate::report::Report;

/// Name, filter, and the nanoseconds that PHPMongoQuery was measured to take for a filter of this kind on the reference
/// machine.
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

/// Prints its own tables.
pub(crate) fn run() -> Report {
    let mut out = io::stdout().lock();
    let done = evaluations(&mut out)
        .and_then(|()| hostile(&mut out))
        .and_then(|()| registrations(&mut out));
    done.expect("standard output takes it");
    Report::default()
}

/// Nothing but evaluations, to count their instructions.
pub(crate) fn evaluate(name: &str, count: u64) {
    let json = document();
    let document = Document::from_json(&json).expect("the document is valid");
    let (_, filter, _) = filters()
        .into_iter()
        .find(|(known, ..)| *known == name)
        .expect("a filter of this name");
    let filter = Filter::parse(&filter).expect("the filter is valid");
    for _ in 0..count {
        let _ = black_box(black_box(&filter).matches(black_box(&document)));
    }
}

fn evaluations(out: &mut impl io::Write) -> io::Result<()> {
    let json = document();
    let document = Document::from_json(&json).expect("the document is valid");
    let php = php(&json);
    writeln!(
        out,
        "evaluation of one filter, nanoseconds (minimum / median of batches)"
    )?;
    writeln!(
        out,
        "{:<12} {:>11} {:>13} {:>9} {:>15} {:>9}",
        "filter", "ours", "plain PHP", "faster", "PHPMongoQuery*", "faster"
    )?;
    for (place, (name, filter, reference)) in filters().into_iter().enumerate() {
        let filter = Filter::parse(&filter).expect("the filter is valid");
        assert_eq!(filter.matches(&document), Ok(true), "{name}");
        let [ours] = measure([&mut || {
            let _ = black_box(black_box(&filter).matches(black_box(&document)));
        }]);
        let php = php.as_ref().map(|times| &times[place]);
        let faster = |times: f64, than: f64| format!("{:.0}x", times / than);
        writeln!(
            out,
            "{name:<12} {:>11} {:>13} {:>9} {reference:>15} {:>9}",
            ours.nanos(),
            php.map_or_else(|| "-".to_owned(), Times::nanos),
            php.map_or_else(|| "-".to_owned(), |php| faster(php.median, ours.median)),
            format!(
                "{}-{}",
                faster(f64::from(reference) / 1e9, ours.median),
                faster(f64::from(reference) / 1e9, ours.minimum)
            ),
        )?;
    }
    let [build] = measure([&mut || {
        let _ = black_box(Document::from_json(black_box(&json)));
    }]);
    writeln!(out, "{:<12} {:>11}", "document", build.nanos())?;
    writeln!(
        out,
        "* measured once, on an idle reference machine; the document is built once for an event\n"
    )
}

/// What filters cost that are meant to cost much: JSON that is read already, compiled; and one evaluation.
fn hostile(out: &mut impl io::Write) -> io::Result<()> {
    let uids: Vec<_> = (0..100_000).map(|n| format!("uid{n}")).collect();
    let clauses: Vec<_> = (0..20_000)
        .map(|n| json!({"user.uid": format!("somebody else {n:020}")}))
        .collect();
    let paths: Value = (0..20_000)
        .map(|n| (format!("event.object.data.field{n:020}"), json!({"$ne": 1})))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let texts = uids.iter().cycle().take(1000).cloned().collect::<Vec<_>>();
    writeln!(out, "hostile filters, microseconds (minimum / median of batches)")?;
    writeln!(
        out,
        "{:<44} {:>17} {:>17}",
        "filter", "parsed, compiled", "evaluated"
    )?;
    for (name, filter, document) in [
        (
            "$in of 100,000, on a text",
            json!({"a": {"$in": uids}}),
            json!({"a": "uid99999"}),
        ),
        (
            "$in of 100,000, on a list of 1,000",
            json!({"a": {"$in": uids}}),
            json!({"a": texts}),
        ),
        (
            "$in of 100,000 numbers, on a numeric text",
            json!({"a": {"$in": (0..100_000).collect::<Vec<_>>()}}),
            json!({"a": "-1"}),
        ),
        (
            "$or of 20,000 (1 MB)",
            json!({"$or": clauses}),
            json!({"user": {"uid": "bob"}}),
        ),
        ("20,000 paths (1 MB)", paths, json!({"event": {"object": {}}})),
        (
            "/(a+)+$/ on 100,000 letters",
            json!({"a": "/(a+)+$/"}),
            json!({"a": "a".repeat(100_000) + "!"}),
        ),
    ] {
        let document = Document::from_json(&document).expect("the document is valid");
        let [compile] = measure([&mut || {
            black_box(Filter::parse(black_box(&filter)).is_ok());
        }]);
        let filter = Filter::parse(&filter).expect("the filter is valid");
        let [evaluate] = measure([&mut || {
            let _ = black_box(black_box(&filter).matches(black_box(&document)));
        }]);
        writeln!(
            out,
            "{name:<44} {:>17} {:>17}",
            compile.micros(),
            evaluate.micros()
        )?;
    }
    writeln!(out)
}

/// One event against registrations, as the pipeline matches it, the building of the document included.
fn registrations(out: &mut impl io::Write) -> io::Result<()> {
    const COUNT: usize = 10_000;
    let classes: Vec<EventClass> = EventClass::all().collect();
    let class = classes[0];
    // Every fifth matches.
    let of_class = |n: usize, class| webhook(n, class, if n.is_multiple_of(5) { "bob" } else { "alice" });
    let own = COUNT.div_ceil(classes.len());
    let alone: Vec<_> = (0..own).map(|n| of_class(n, class)).collect();
    let beside = |others: usize| {
        let others = (own..own + others).map(|n| of_class(n, classes[1 + n % (classes.len() - 1)]));
        Snapshot::of(alone.iter().cloned().chain(others).collect())
    };
    let snapshots = [beside(0), beside(COUNT - own), beside(10 * COUNT - own)];
    let twice = Snapshot::of((0..2 * own).map(|n| of_class(n, class)).collect());
    let event = event(class);
    let metrics = Metrics::default();
    let run =
        |snapshot: &Snapshot| black_box(matches(black_box(&event), black_box(snapshot), &metrics)).len();
    let times = measure([
        &mut || _ = run(&snapshots[0]),
        &mut || _ = run(&snapshots[1]),
        &mut || _ = run(&snapshots[2]),
        &mut || _ = run(&twice),
    ]);
    writeln!(
        out,
        "one event against registrations over every class, microseconds (minimum / median, in turn)"
    )?;
    writeln!(
        out,
        "{:>12} {:>14} {:>8} {:>15}",
        "of its class", "of all classes", "match", "time"
    )?;
    for (snapshot, times) in snapshots.iter().chain([&twice]).zip(&times) {
        writeln!(
            out,
            "{:>12} {:>14} {:>8} {:>15}",
            snapshot.for_class(class).len(),
            snapshot.all().len(),
            run(snapshot),
            times.micros()
        )?;
    }
    Ok(())
}

fn webhook(n: usize, class: EventClass, uid: &str) -> Arc<Webhook> {
    let filter = json!({"user.uid": uid, "event.object.register": "my-register"});
    Arc::new(Webhook {
        id: WebhookId(i64::try_from(n).expect("small")),
        revision: 1,
        app_id: None,
        user_id: "admin".into(),
        method: HttpMethod::Post,
        http_method: "POST".into(),
        target: "https://localhost/".parse().expect("a URI"),
        uri: "https://localhost/".into(),
        event: EventPattern::parse(&class.name()).expect("a class"),
        filter: Arc::new(Filter::parse(&filter).expect("the filter is valid")),
        event_filter: filter,
        user_id_filter: None,
        headers: None,
        auth: Auth::None,
        auth_data_set: false,
        token_needed: serde_json::json!([]),
        format: Format::Documented,
        data_mode: DataMode::Full,
        options: BodyOptions::default(),
        source: EventSource::default(),
        client_certificate: None,
        legacy_signature: false,
        gap_events: false,
        handshake: None,
        secrets: Vec::new(),
        status: Status::Enabled,
        limits: Limits {
            per_second: 1,
            burst: 1,
            max_in_flight: 1,
            timeout: Duration::from_secs(1),
            per_minute: None,
        },
        ordering: Ordering::Object,
        retry: RetryPolicy {
            max_attempts: 1,
            schedule: Vec::new(),
        },
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
    })
}

fn event(class: EventClass) -> Event {
    let Value::Object(mut fields) = document()["event"]["object"].take() else {
        unreachable!("it is an object");
    };
    for (name, slug) in [("register", "my-register"), ("schema", "my-schema")] {
        fields.insert(
            name.into(),
            json!({"id": 1, "uuid": format!("{slug}-uuid"), "slug": slug}),
        );
    }
    Event {
        id: EventId::from_stored("evt_1".into()),
        class,
        lane: Lane::object("550e8400-e29b-41d4-a716-446655440000"),
        at: DateTime::UNIX_EPOCH,
        states: States::One(Entity::new(fields)),
        actor: ActorState::Known(Some(Actor {
            uid: "bob".into(),
            display_name: None,
            groups: vec!["editors".into()],
            source: orw_model::ActorSource::AuditTrail,
        })),
        pid: 1,
    }
}

/// Seconds a call.
struct Times {
    minimum: f64,
    median: f64,
}

impl Times {
    fn nanos(&self) -> String {
        format!("{:.0} / {:.0}", self.minimum * 1e9, self.median * 1e9)
    }

    fn micros(&self) -> String {
        format!("{:.1} / {:.1}", self.minimum * 1e6, self.median * 1e6)
    }
}

/// How long calls take, in turn: batches of about 0.1 ms, short enough that on a busy machine most are not interrupted;
/// at least 20 of each, and 2,000 where that takes no longer than a second.
fn measure<const N: usize>(mut calls: [&mut dyn FnMut(); N]) -> [Times; N] {
    fn time(call: &mut dyn FnMut(), batch: u32) -> Duration {
        let start = Instant::now();
        for _ in 0..batch {
            call();
        }
        start.elapsed()
    }
    let batches = calls.each_mut().map(|call| {
        let mut batch = 1_u32;
        while time(*call, batch) < Duration::from_micros(100) {
            batch *= 2;
        }
        batch
    });
    let mut times: [Vec<f64>; N] = [const { Vec::new() }; N];
    let began = Instant::now();
    for round in 0..2000 {
        if round >= 20 && began.elapsed() > Duration::from_secs(1) {
            break;
        }
        for ((call, batch), times) in calls.iter_mut().zip(batches).zip(&mut times) {
            times.push(time(*call, batch).as_secs_f64() / f64::from(batch));
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        Times {
            minimum: times[0],
            median: times[times.len() / 2],
        }
    })
}

/// The same filters in plain PHP; nothing where there is no `php`.
fn php(document: &Value) -> Option<Vec<Times>> {
    let mut child = Command::new("php")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/benches/bench/sections/filter.php"
        ))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let filters: Vec<_> = filters().into_iter().map(|(_, filter, _)| filter).collect();
    let input = json!({"document": document, "filters": filters}).to_string();
    child.stdin.take()?.write_all(input.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    let times: Vec<[f64; 2]> = serde_json::from_slice(&output.stdout).ok()?;
    (times.len() == filters.len()).then(|| {
        times
            .into_iter()
            .map(|[minimum, median]| Times {
                minimum: minimum / 1e9,
                median: median / 1e9,
            })
            .collect()
    })
}
