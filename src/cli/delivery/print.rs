//! Deliveries and attempts as the command line prints them.

use chrono::{DateTime, Utc};

use crate::cli::table::{Cell, Column, Table, Tone, ago};
use crate::cli::times::Times;
use crate::cli::{output, response};
use crate::delivery::queue::listing::{AttemptEntry, Entry};

/// How far what belongs to an attempt is indented.
pub(super) const ATTEMPT: usize = 5;
/// Stands for the class of an event that is no longer kept.
const GONE: &str = "(event gone)";

/// Deliveries, one in each row.
pub(super) fn table(entries: &[Entry], times: Times, now: DateTime<Utc>) -> Table<8> {
    let mut table = Table::new([
        Column::number("ID"),
        Column::number(times.header()),
        Column::text("STATE"),
        Column::number("WEBHOOK"),
        Column::long("EVENT"),
        Column::long("OBJECT"),
        Column::number("TRIES"),
        Column::long("RESULT"),
    ]);
    for entry in entries {
        table.row([
            entry.id.into(),
            times.shown(entry.created_at).into(),
            state(entry),
            entry.webhook.into(),
            entry.class.as_deref().unwrap_or(GONE).into(),
            object(entry).into(),
            entry.attempts.into(),
            result(entry, now).into(),
        ]);
    }
    table
}

/// A delivery in one line, for output that goes on.
pub(super) fn line(entry: &Entry, now: DateTime<Utc>) -> String {
    format!(
        "{}  {}  {:<13}  webhook {}  {}  {}  tries {}  {}",
        now.format("%T"),
        entry.id,
        entry.state,
        entry.webhook,
        entry.class.as_deref().unwrap_or(GONE),
        output::short(object(entry)),
        entry.attempts,
        result(entry, now),
    )
    .trim_end()
    .to_owned()
}

/// Everything about a delivery, a field in each line, with absolute times.
pub(super) fn details(entry: &Entry) -> Vec<String> {
    let at = |time: DateTime<Utc>| time.format("%F %T UTC").to_string();
    let fields = [
        ("delivery", Some(entry.id.to_string())),
        ("state", Some(entry.state.clone())),
        ("webhook", Some(entry.webhook.to_string())),
        ("event", Some(entry.class.as_deref().unwrap_or(GONE).to_owned())),
        ("webhook-id", entry.event_id.clone()),
        ("lane", Some(entry.lane.clone())),
        ("reason", Some(entry.reason.clone())),
        ("attempts", Some(entry.attempts.to_string())),
        ("status", entry.status.map(|status| status.to_string())),
        ("cause", entry.cause.clone()),
        ("queued", Some(at(entry.created_at))),
        ("due", entry.due_at.filter(|_| entry.state != "leased").map(at)),
        ("finished", entry.finished_at.map(at)),
    ];
    fields
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name:<11} {}", value?)))
        .collect()
}

/// An attempt: one line, and one for each part of the response.
pub(super) fn attempt(entry: &AttemptEntry) -> Vec<String> {
    let result = match (entry.status, &entry.cause) {
        (Some(status), _) => status.to_string(),
        (None, Some(cause)) => cause.clone(),
        (None, None) => String::new(),
    };
    let mut lines = vec![format!(
        "  {}. {}  {} ms  {result}{}",
        entry.number,
        entry.at.format("%F %T%.3f"),
        entry.duration_ms,
        if entry.probe { "  (probe)" } else { "" },
    )];
    for more in response::lines(
        entry.error.as_deref(),
        entry.headers.as_ref(),
        entry.response.as_deref(),
    ) {
        lines.push(format!("     {more}"));
    }
    lines
}

fn state(entry: &Entry) -> Cell {
    let tone = match entry.state.as_str() {
        "succeeded" => Tone::Good,
        "retrying" => Tone::Attention,
        "given_up" => Tone::Bad,
        "cancelled" => Tone::Faint,
        _ => Tone::Plain,
    };
    Cell::toned(&entry.state, tone)
}

/// The object's uuid; for other kinds the lane.
fn object(entry: &Entry) -> &str {
    entry.lane.strip_prefix("object:").unwrap_or(&entry.lane)
}

/// What came of it, or when it is tried next.
fn result(entry: &Entry, now: DateTime<Utc>) -> String {
    let outcome = match (&entry.cause, entry.status) {
        // The cause of an answer is its status: `status 503`.
        (Some(cause), Some(status)) => format!("{cause} {status}"),
        (Some(cause), None) => cause.clone(),
        (None, Some(status)) => status.to_string(),
        (None, None) => String::new(),
    };
    match entry.due_at {
        Some(at) if entry.state == "retrying" && at > now => {
            format!("{outcome} next {}", ago(at, now)).trim_start().to_owned()
        }
        _ => outcome,
    }
}
