//! Webhooks and their history, as the command line prints them.

use std::io;
use std::sync::Arc;

use serde::Serialize as _;
use serde_json::ser::Formatter;
use serde_json::{Value, json};

use crate::cli::output;
use crate::cli::table::{Cell, Column, Table, Tone};
use crate::registry::{AuditEntry, Changed, Status, Webhook, view};

pub(super) fn list(all: &[Arc<Webhook>], json: bool) {
    output::may_be_long();
    if json {
        let all: Vec<_> = all
            .iter()
            .map(|webhook| Value::Object(view::whole(webhook)))
            .collect();
        return output::json(&all.into());
    }
    if all.is_empty() {
        output::note("no webhook is registered");
    }
    let mut table = Table::new([
        Column::number("ID"),
        Column::text("STATE"),
        Column::long("EVENT"),
        Column::long("URI"),
    ]);
    for webhook in all {
        table.row([
            webhook.id.into(),
            state(&webhook.status),
            short_event(webhook).into(),
            (&webhook.uri).into(),
        ]);
    }
    table.print();
}

fn state(status: &Status) -> Cell {
    let tone = match status {
        Status::Enabled => Tone::Good,
        Status::Paused => Tone::Attention,
        Status::Disabled { .. } => Tone::Bad,
    };
    Cell::toned(status.name(), tone)
}

/// The event without its namespace.
fn short_event(webhook: &Webhook) -> &str {
    webhook.event.as_str().rsplit('\\').next().unwrap_or_default()
}

pub(super) fn show(webhook: &Webhook, json: bool) {
    output::may_be_long();
    let fields = view::whole(webhook);
    if json {
        return output::json(&fields.into());
    }
    for (name, value) in fields {
        match value {
            Value::Null => {}
            Value::String(text) => output::prose(format_args!("{name:15} {text}"), 16),
            other => output::prose(format_args!("{name:15} {}", spaced(&other)), 16),
        }
    }
}

/// JSON with a blank behind each comma and colon, where a line can be broken.
fn spaced(value: &Value) -> String {
    let mut text = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut text, Spaced);
    // Neither writing to memory nor a value that was read as JSON can fail.
    drop(value.serialize(&mut writer));
    String::from_utf8_lossy(&text).into_owned()
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: io::Write + ?Sized>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        to.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: io::Write + ?Sized>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        to.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }
}

/// A webhook after a change, with the signing secret if the change set it.
pub(super) fn changed(changed: &Changed, json: bool) {
    for warning in &changed.warnings {
        output::note(format_args!("warning: {warning}"));
    }
    let webhook = &changed.webhook;
    if json {
        let mut fields = view::whole(webhook);
        if let Some(secret) = &changed.secret {
            fields.insert("secret".to_owned(), view::shown(secret));
        }
        return output::json(&fields.into());
    }
    output::say(format_args!(
        "{}  {}  {}",
        webhook.id,
        webhook.status.name(),
        webhook.uri
    ));
    if let Some(secret) = &changed.secret
        && let Value::String(secret) = view::shown(secret)
    {
        output::say(format_args!("signing secret, shown this once: {secret}"));
        output::note(format_args!(
            "give it to the receiver; `webhook test {}` sends a test event now",
            webhook.id
        ));
    }
}

pub(super) fn removed(id: i64, json: bool) {
    if json {
        output::json_line(&json!({"removed": id}));
    } else {
        output::say(format_args!("removed {id}"));
    }
}

/// The changes in the audit table, one line each.
pub(super) fn history(entries: &[AuditEntry], limit: u16, json: bool) {
    output::may_be_long();
    if json {
        return output::json(&entries.iter().map(view::audited).collect());
    }
    if entries.is_empty() {
        output::note("no change is recorded that is still kept");
    }
    let mut table = Table::new([
        Column::text("TIME (UTC)"),
        Column::text("ACTION"),
        Column::number("WEBHOOK"),
        Column::long("WHO"),
        Column::long("FROM"),
    ]);
    for entry in entries {
        table.row([
            entry.at.format("%F %T").into(),
            (&entry.action).into(),
            (&entry.webhook).into(),
            (&entry.who).into(),
            entry.client.as_deref().unwrap_or("-").into(),
        ]);
    }
    table.print();
    if let Some(last) = entries.last().filter(|_| entries.len() == usize::from(limit)) {
        output::note(format_args!("there may be more: --before {}", last.id));
    }
}
