//! `webhook statistics`.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::cli::failure::Failure;
use crate::cli::registry::find;
use crate::cli::table::{Cell, Column, Table, Tone, ago};
use crate::cli::{database, output};
use crate::config::Settings;
use crate::delivery::statistics::{self, Statistics};
use crate::registry::Registry;

/// Prints the statistics of one webhook, or of all.
pub(super) async fn run(
    settings: &Settings,
    registry: &Registry,
    id: Option<i64>,
    json: bool,
) -> Result<(), Failure> {
    let ids: Vec<i64> = match id {
        Some(id) => vec![find(registry, id)?.id.0],
        None => registry.snapshot().all().iter().map(|w| w.id.0).collect(),
    };
    let client = database::connect(&database::database(settings)?).await?;
    let all = statistics::of(&client, &ids).await?;
    output::may_be_long();
    if json {
        output::json(&json!(all));
        return Ok(());
    }
    let now = Utc::now();
    let mut table = Table::new([
        Column::number("WEBHOOK"),
        Column::number("PENDING"),
        Column::number("RETRYING"),
        Column::number("OLDEST"),
        Column::number("OK"),
        Column::number("GIVEN UP"),
        Column::number("MEDIAN"),
        Column::number("LAST OK"),
        Column::long("LAST FAILURE"),
    ]);
    all.iter().for_each(|one| table.row(row(one, now)));
    table.print();
    Ok(())
}

fn row(one: &Statistics, now: DateTime<Utc>) -> [Cell; 9] {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let age = |time: Option<DateTime<Utc>>| or_none(time.map(|time| ago(time, now)));
    let failure = match (one.last_failure, one.last_cause.as_deref()) {
        (Some(at), cause) => format!("{} {}", ago(at, now), cause.unwrap_or_default())
            .trim_end()
            .to_owned(),
        (None, cause) => cause.unwrap_or("-").to_owned(),
    };
    let tone = |count: i64, tone: Tone| if count > 0 { tone } else { Tone::Plain };
    [
        one.webhook.into(),
        one.pending.into(),
        Cell::toned(one.retrying, tone(one.retrying, Tone::Attention)),
        age(one.oldest_pending).into(),
        one.succeeded.into(),
        Cell::toned(one.given_up, tone(one.given_up, Tone::Bad)),
        or_none(one.latency_ms.map(|l| format!("{} ms", l.median))).into(),
        age(one.last_success).into(),
        failure.into(),
    ]
}
