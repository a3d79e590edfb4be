//! What the demo prints: a line for each request as it arrives, and a summary.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::Value;

use super::plan::Expected;
use crate::delivery::signatures;
use orw_model::{EntityKind, EventClass};
use orw_testkit::Generation;
use orw_testkit::receiver::{Answer, Received};

/// A webhook that the demo registered, by the path it sends to.
#[derive(Debug, Clone)]
pub(super) struct Registered {
    pub(super) generation: Generation,
    pub(super) id: u64,
    pub(super) secret: SecretString,
}

/// All webhooks of the demo.
pub(super) type Webhooks = BTreeMap<String, Registered>;

/// The event of one request.
struct Line<'a> {
    request: &'a Received,
    webhook: Option<&'a Registered>,
    class: Option<EventClass>,
    body: Value,
}

impl<'a> Line<'a> {
    fn new(request: &'a Received, webhooks: &'a Webhooks) -> Self {
        let body = request.json();
        Self {
            request,
            webhook: webhooks.get(&request.path),
            class: body["event"].as_str().and_then(EventClass::parse),
            body,
        }
    }

    /// The state that the event is about.
    fn state(&self) -> &Value {
        let kind = self.class.map_or("object", |class| class.kind().name());
        let new = format!(
            "new{}",
            self.class.map_or("Object", |class| class.kind().class_name())
        );
        let data = &self.body["data"];
        if data[&new].is_object() {
            &data[&new]
        } else {
            &data[kind]
        }
    }

    /// The object or entity whose events must be in order.
    fn subject(&self) -> String {
        let state = self.state();
        let key = if self.class.is_some_and(|class| class.kind() == EntityKind::Object) {
            "uuid"
        } else {
            "id"
        };
        format!("{} {}", self.request.path, state[key])
    }

    /// Milliseconds from the change to the receipt; both clocks are this machine's.
    fn millis(&self) -> Option<f64> {
        let at: DateTime<Utc> = self.request.header("orw-event-time").parse().ok()?;
        let micros = (self.request.at - at).num_microseconds()?;
        Some(f64::from(i32::try_from(micros).ok()?) / 1000.0)
    }

    fn status(&self) -> String {
        match &self.request.answer {
            Answer::Status(status) | Answer::Full { status, .. } => status.to_string(),
            other => format!("{other:?}"),
        }
    }

    fn signed(&self) -> bool {
        let timestamp = self.request.header("webhook-timestamp").parse();
        let (Some(webhook), Ok(timestamp)) = (self.webhook, timestamp) else {
            return false;
        };
        let id = self.request.header("webhook-id");
        let secrets = std::slice::from_ref(&webhook.secret);
        signatures(secrets, id, timestamp, &self.request.body).is_ok_and(|expected| {
            !expected.is_empty() && expected == self.request.header("webhook-signature")
        })
    }
}

/// Prints the heading of the lines.
pub(super) fn heading(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "\n{:<12} {:<8} {:<26} {:<44} {:<11} {:<7} {:>8}",
        "time (UTC)", "database", "event", "object", "webhook", "status", "ms"
    )
}

/// Prints the line of one request.
pub(super) fn line(out: &mut impl Write, request: &Received, webhooks: &Webhooks) -> io::Result<()> {
    let line = Line::new(request, webhooks);
    let state = line.state();
    let text = |key: &str| state[key].as_str().unwrap_or_default().to_owned();
    let object = if line.class.is_some_and(|class| class.kind() == EntityKind::Object) {
        format!("{}/{} {}", text("register"), text("schema"), text("uuid"))
    } else {
        let name = ["name", "title"]
            .iter()
            .map(|key| text(key))
            .find(|name| !name.is_empty());
        format!("{} {}", state["id"], name.unwrap_or_default())
    };
    writeln!(
        out,
        "{:<12} {:<8} {:<26} {:<44} {:<11} {:<7} {:>8}{}",
        request.at.format("%H:%M:%S%.3f").to_string(),
        line.webhook.map(|w| w.generation.to_string()).unwrap_or_default(),
        line.class
            .map_or_else(|| line.body["event"].to_string(), |class| class.to_string()),
        object,
        line.webhook.map(|w| w.id.to_string()).unwrap_or_default(),
        line.status(),
        line.millis().map_or_else(String::new, |ms| format!("{ms:.1}")),
        match line.webhook {
            None => "  (a webhook of yours)",
            Some(_) if line.signed() => "",
            Some(_) => "  SIGNATURE WRONG",
        },
    )
}

/// What arrived, compared with what must have arrived.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The latencies of events in ms, by generation and class; repeats count once.
    arrived: BTreeMap<(bool, EventClass), Vec<f64>>,
    unsigned: usize,
    unknown: usize,
    disorder: usize,
}

impl Tally {
    pub(super) fn of(received: &[Received], webhooks: &Webhooks) -> Self {
        let mut tally = Self::default();
        let mut seen = BTreeSet::new();
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for request in received {
            let line = Line::new(request, webhooks);
            tally.unsigned += usize::from(!line.signed());
            let (Some(webhook), Some(class)) = (line.webhook, line.class) else {
                tally.unknown += 1;
                continue;
            };
            if !seen.insert((request.path.clone(), request.header("webhook-id").to_owned())) {
                continue;
            }
            let sequence: u64 = request.header("orw-sequence").parse().unwrap_or_default();
            let before = last.insert(line.subject(), sequence);
            tally.disorder += usize::from(before.is_some_and(|before| before >= sequence));
            let key = (webhook.generation == Generation::V0_2_9, class);
            tally
                .arrived
                .entry(key)
                .or_default()
                .push(line.millis().unwrap_or_default());
        }
        for times in tally.arrived.values_mut() {
            times.sort_by(f64::total_cmp);
        }
        tally
    }

    fn times(&self, generation: Generation, class: EventClass) -> &[f64] {
        let key = (generation == Generation::V0_2_9, class);
        self.arrived.get(&key).map_or(&[], Vec::as_slice)
    }

    /// How many events of a generation have arrived.
    pub(super) fn total(&self, generation: Generation) -> usize {
        EventClass::all()
            .map(|class| self.times(generation, class).len())
            .sum()
    }

    /// Prints the table and returns whether everything is as expected.
    pub(super) fn summary(
        &self,
        out: &mut impl Write,
        expected: &[(Generation, Expected)],
    ) -> io::Result<bool> {
        let mut good = self.unsigned == 0 && self.unknown == 0 && self.disorder == 0;
        let columns = |out: &mut dyn Write, text: [&str; 4]| {
            write!(
                out,
                " | {:>8} {:>7} {:>9} {:>8}",
                text[0], text[1], text[2], text[3]
            )
        };
        write!(out, "\n{:<26}", "")?;
        for (generation, _) in expected {
            write!(out, " | {:<35}", format!("OpenRegister {generation}"))?;
        }
        write!(out, "\n{:<26}", "event")?;
        for _ in expected {
            columns(out, ["expected", "arrived", "median ms", "max ms"])?;
        }
        writeln!(out)?;
        for class in EventClass::all() {
            let wanted = |of: &(Generation, Expected)| of.1.of(class);
            if expected
                .iter()
                .all(|of| wanted(of) == 0 && self.times(of.0, class).is_empty())
            {
                continue;
            }
            write!(out, "{:<26}", class.to_string())?;
            let mut same = true;
            for of in expected {
                let times = self.times(of.0, class);
                same &= wanted(of) == times.len();
                let millis = |at: Option<&f64>| at.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"));
                let (median, max) = (times.get(times.len().saturating_sub(1) / 2), times.last());
                let (wanted, arrived) = (wanted(of).to_string(), times.len().to_string());
                columns(out, [&wanted, &arrived, &millis(median), &millis(max)])?;
            }
            writeln!(out, "{}", if same { "" } else { "  <-- not as expected" })?;
            good &= same;
        }
        let all: usize = expected.iter().map(|(_, expected)| expected.total()).sum();
        let arrived: usize = expected
            .iter()
            .map(|(generation, _)| self.total(*generation))
            .sum();
        writeln!(out, "\n{arrived} of {all} events arrived")?;
        for (count, what) in [
            (self.unsigned, "requests had a wrong signature"),
            (self.unknown, "requests were none of the documented events"),
            (self.disorder, "events overtook an earlier one of the same object"),
        ] {
            if count > 0 {
                writeln!(out, "{count} {what}")?;
            }
        }
        Ok(good)
    }
}
