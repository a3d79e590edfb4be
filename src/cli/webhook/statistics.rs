//! `webhook statistics`.

use chrono::Utc;
use serde_json::json;

use crate::cli::failure::Failure;
use crate::cli::registry::find;
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
    if json {
        output::json(&json!(all));
        return Ok(());
    }
    output::say(format_args!(
        "{:<12} {:>9} {:>9} {:>10} {:>11} {:>9} {:>9}  {:<19}  {}",
        "webhook",
        "pending",
        "retrying",
        "oldest",
        "succeeded",
        "given up",
        "median ms",
        "last success",
        "last failure"
    ));
    all.iter().for_each(|one| output::say(line(one)));
    Ok(())
}

fn line(one: &Statistics) -> String {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let age = one
        .oldest_pending
        .map(|at| format!("{} s", (Utc::now() - at).num_seconds()));
    let at = |time: Option<chrono::DateTime<Utc>>| or_none(time.map(|t| t.format("%F %T").to_string()));
    format!(
        "{:<12} {:>9} {:>9} {:>10} {:>11} {:>9} {:>9}  {:<19}  {} {}",
        one.webhook,
        one.pending,
        one.retrying,
        or_none(age),
        one.succeeded,
        one.given_up,
        or_none(one.latency_ms.map(|l| l.median.to_string())),
        at(one.last_success),
        at(one.last_failure),
        one.last_cause.as_deref().unwrap_or_default(),
    )
}
