//! The commands that only look.

use super::columns::of_show;
use super::context::{Context, ShownSetting};
use super::failure::no_webhook;
use super::{help, views};
use crate::capture::inspection;
use crate::console::error::{ConsoleError, code};
use crate::console::statement::{Deliveries, Show};
use crate::console::value::{Table, Value};
use crate::delivery::queue::listing::{self, AttemptEntry, DeliveryFilter, Entry, Field, MAX_PAGE, Query};
use crate::delivery::statistics::{self, Statistics};
use crate::pipeline::jobs::{self, Job};
use crate::registry::{InvalidField, Status, Webhook, WebhookId};

/// Deliveries and jobs that are shown unless more are asked for.
const USUAL: i64 = 50;

/// Shows something.
pub(in crate::console) async fn run(context: &Context, wanted: &Show) -> Result<Table, ConsoleError> {
    let columns = of_show(wanted);
    let rows = match wanted {
        Show::Webhooks => {
            let snapshot = context.registry.refresh().await?;
            snapshot.all().iter().map(webhook).collect()
        }
        Show::Deliveries(wanted) => {
            let query = query(wanted)?;
            let client = context.pool.get().await?;
            let page = listing::list(&**client, &query).await?;
            page.entries.iter().map(delivery).collect()
        }
        Show::Attempts(id) => {
            let client = context.pool.get().await?;
            let found = listing::show(&**client, *id).await?;
            let (_, attempts) = found.ok_or_else(|| no_delivery(*id))?;
            attempts.iter().map(attempt).collect()
        }
        Show::Stats(wanted) => stats(context, *wanted).await?,
        Show::Jobs => {
            let client = context.pool.get().await?;
            let jobs = jobs::list(&**client, None, None, MAX_PAGE).await?;
            jobs.iter().map(job).collect()
        }
        Show::Lag => return view(context, wanted, "show_lag", "place").await,
        Show::Tables => return view(context, wanted, "show_tables", "table_name").await,
        Show::Workers => return view(context, wanted, "show_workers", "started_at DESC LIMIT 1000").await,
        Show::Gaps => return view(context, wanted, "show_gaps", "id DESC LIMIT 1000").await,
        Show::Config => settings(context),
        Show::Version => vec![version(context).await?],
        Show::Help => help::rows(),
        Show::Parameter(parameter) => vec![vec![parameter.value.into()]],
        Show::One => vec![vec![1_i64.into()]],
    };
    Ok(Table { columns, rows })
}

async fn view(
    context: &Context,
    wanted: &Show,
    name: &'static str,
    order: &'static str,
) -> Result<Table, ConsoleError> {
    let client = context.pool.get().await?;
    Ok(views::read(&**client, name, of_show(wanted), order).await?)
}

fn webhook(webhook: &std::sync::Arc<Webhook>) -> Vec<Value> {
    let (reason, since) = match &webhook.status {
        Status::Disabled { reason, since } => (Some(reason.clone()), Some(*since)),
        Status::Enabled | Status::Paused => (None, None),
    };
    vec![
        webhook.id.0.into(),
        webhook.status.name().into(),
        reason.into(),
        since.into(),
        webhook.event.as_str().into(),
        webhook.method.as_str().into(),
        webhook.uri.as_str().into(),
        webhook.format.as_str().into(),
        webhook.ordering.as_str().into(),
        webhook.limits.per_second.into(),
        webhook.limits.burst.into(),
        webhook.limits.max_in_flight.into(),
        webhook.limits.timeout.as_secs_f64().into(),
        webhook.retry.max_attempts.into(),
        webhook.user_id.as_str().into(),
        webhook.created_at.into(),
        webhook.updated_at.into(),
    ]
}

/// Which deliveries; what is not valid is refused.
fn query(wanted: &Deliveries) -> Result<Query, ConsoleError> {
    let limit = wanted.limit.unwrap_or(USUAL);
    let limit = u16::try_from(limit)
        .ok()
        .filter(|limit| (1..=MAX_PAGE).contains(limit))
        .ok_or_else(|| {
            ConsoleError::new(
                code::BAD_PARAMETER,
                format!("LIMIT {limit}: a page has 1 to {MAX_PAGE} rows"),
            )
            .with_hint("BEFORE and the last id of a page begin the next one")
        })?;
    let mut filter = DeliveryFilter::default();
    for (field, text) in &wanted.filter {
        // Words of a command may be written in capitals.
        let text = match field {
            Field::State => &text.to_lowercase(),
            _ => text,
        };
        filter.set(*field, text).map_err(bad)?;
    }
    Ok(Query {
        filter,
        before: wanted.before,
        limit,
    })
}

fn bad(error: InvalidField) -> ConsoleError {
    ConsoleError::new(code::BAD_PARAMETER, error.to_string())
}

pub(super) fn no_delivery(id: i64) -> ConsoleError {
    ConsoleError::new(code::UNDEFINED, format!("delivery {id} does not exist"))
        .with_hint("SHOW DELIVERIES lists those that do")
}

fn delivery(entry: &Entry) -> Vec<Value> {
    vec![
        entry.id.into(),
        entry.webhook.into(),
        entry.state.as_str().into(),
        entry.class.clone().into(),
        entry.event_id.clone().into(),
        entry.lane.as_str().into(),
        entry.reason.as_str().into(),
        entry.attempts.into(),
        entry.status.into(),
        entry.cause.clone().into(),
        entry.created_at.into(),
        entry.due_at.into(),
        entry.finished_at.into(),
    ]
}

fn attempt(entry: &AttemptEntry) -> Vec<Value> {
    vec![
        entry.number.into(),
        entry.at.into(),
        entry.duration_ms.into(),
        entry.status.into(),
        entry.cause.clone().into(),
        entry.error.clone().into(),
        entry.response.clone().into(),
        entry.probe.into(),
    ]
}

async fn stats(context: &Context, wanted: Option<i64>) -> Result<Vec<Vec<Value>>, ConsoleError> {
    let snapshot = context.registry.refresh().await?;
    let ids: Vec<i64> = match wanted {
        Some(id) => {
            snapshot.get(WebhookId(id)).ok_or_else(|| no_webhook(id))?;
            vec![id]
        }
        None => snapshot.all().iter().map(|webhook| webhook.id.0).collect(),
    };
    let client = context.pool.get().await?;
    let all = statistics::of(&**client, &ids).await?;
    Ok(all.iter().map(figures).collect())
}

fn figures(one: &Statistics) -> Vec<Value> {
    vec![
        one.webhook.into(),
        one.pending.into(),
        one.retrying.into(),
        one.leased.into(),
        one.oldest_pending.into(),
        one.succeeded.into(),
        one.given_up.into(),
        one.failed_attempts.values().sum::<i64>().into(),
        one.failures_in_a_row.into(),
        one.last_success.into(),
        one.last_failure.into(),
        one.last_cause.clone().into(),
        one.mean_attempt_ms.into(),
        one.latency_ms.map(|latency| latency.median).into(),
        one.latency_ms.map(|latency| latency.p99).into(),
        one.latency_ms.map(|latency| latency.sample).into(),
    ]
}

pub(super) fn job(job: &Job) -> Vec<Value> {
    vec![
        job.id.into(),
        job.kind.name().into(),
        job.webhook.into(),
        job.state.name().into(),
        job.expected.into(),
        job.seen.into(),
        job.enqueued.into(),
        job.note.clone().into(),
        job.waiting.clone().into(),
        job.who.as_str().into(),
        job.created_at.into(),
        job.finished_at.into(),
    ]
}

fn settings(context: &Context) -> Vec<Vec<Value>> {
    let row = |setting: &ShownSetting| {
        vec![
            setting.name.into(),
            setting.value.clone().into(),
            setting.origin.as_str().into(),
            setting.about.into(),
        ]
    };
    context.settings.iter().map(row).collect()
}

async fn version(context: &Context) -> Result<Vec<Value>, ConsoleError> {
    let client = context.pool.get().await?;
    let schema = inspection::schema_version(&client).await?;
    let rows = client
        .query_typed("SELECT current_setting('server_version')", &[])
        .await?;
    let server: Option<String> = rows.first().map(|row| row.try_get(0)).transpose()?;
    Ok(vec![
        env!("CARGO_PKG_VERSION").into(),
        schema.into(),
        server.into(),
    ])
}
