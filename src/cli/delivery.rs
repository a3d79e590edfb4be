//! `delivery`: what is waiting, what was delivered and what was given up; and retries by hand.

use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde_json::json;
use tokio_postgres::Client;

use super::args::CommonArgs;
use super::failure::Failure;
use super::{caller, database, output, response};
use crate::arguments;
use crate::config::Settings;
use crate::delivery::queue::listing::{self, AttemptEntry, Entry, MAX_PAGE, Query, STATES};
use crate::delivery::queue::{self, Retried};
use crate::lifecycle::EventType;
use crate::registry::{self, Ordering, WebhookId};

const NOTHING_TO_RETRY: &str = "there is nothing to retry: the delivery succeeded, still waits or was put back already, or its event is no longer kept";

#[derive(Debug, Args)]
pub(super) struct DeliveryArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List deliveries, waiting and finished, newest first
    List(ListArgs),
    /// Show a delivery with every attempt
    Show(ShowArgs),
    /// Put what was given up or cancelled back into the queue, at the end of its object's lane
    Retry(RetryArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only those of this webhook
    #[arg(long)]
    webhook: Option<i64>,
    /// Only those in this state
    #[arg(long, value_parser = STATES)]
    state: Option<String>,
    /// Only those of this class, such as ObjectCreatedEvent; or openregister-webhooks.gap
    #[arg(long, value_parser = arguments::event_type)]
    class: Option<EventType>,
    /// Only those put into the queue since then: a time (2026-11-25T10:00:00Z) or an age (90m, 12h, 3d)
    #[arg(long, value_parser = arguments::since)]
    since: Option<DateTime<Utc>>,
    /// Only those older than this one: goes on where the last list ended
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
    /// How many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_PAGE)))]
    limit: u16,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// The delivery
    id: i64,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false, args = ["id", "webhook"])]
struct RetryArgs {
    /// This delivery
    id: Option<i64>,
    /// Everything that was given up of this webhook, oldest first
    #[arg(long, value_name = "ID")]
    webhook: Option<i64>,
    #[command(flatten)]
    common: CommonArgs,
}

impl Action {
    const fn common(&self) -> &CommonArgs {
        match self {
            Self::List(args) => &args.common,
            Self::Show(args) => &args.common,
            Self::Retry(args) => &args.common,
        }
    }
}

pub(super) fn run(args: DeliveryArgs) -> anyhow::Result<ExitCode> {
    let settings = args.action.common().settings.clone();
    database::command(settings, async move |settings| {
        execute(&settings, args.action).await
    })
}

async fn execute(settings: &Settings, action: Action) -> Result<ExitCode, Failure> {
    let database = database::database(settings)?;
    let mut client = database::connect(&database).await?;
    match action {
        Action::List(args) => list(&client, args).await?,
        Action::Show(args) => show(&client, &args).await?,
        Action::Retry(args) => retry(&mut client, &args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, args: ListArgs) -> Result<(), Failure> {
    let query = Query {
        webhook: args.webhook,
        state: args.state,
        class: args.class.map(|class| class.to_string()),
        since: args.since,
        before: args.before,
        limit: args.limit,
    };
    let page = listing::list(client, &query).await?;
    if args.common.json {
        output::json(&json!({"deliveries": page.entries, "before": page.next}));
        return Ok(());
    }
    if page.entries.is_empty() && page.next.is_none() {
        output::note("there are no such deliveries");
    }
    page.entries.iter().for_each(|e| output::say(line(e)));
    if let Some(next) = page.next {
        output::note(format_args!("there may be more: --before {next}"));
    }
    Ok(())
}

async fn show(client: &Client, args: &ShowArgs) -> Result<(), Failure> {
    let (entry, attempts) = find(client, args.id).await?;
    if args.common.json {
        output::json(&json!({"delivery": entry, "attempts": attempts}));
    } else {
        output::say(line(&entry));
        attempts.iter().flat_map(attempt).for_each(output::say);
    }
    Ok(())
}

async fn retry(client: &mut Client, args: &RetryArgs) -> Result<(), Failure> {
    let webhook = match args.id {
        Some(id) => find(client, id).await?.0.webhook,
        None => args.webhook.unwrap_or_default(),
    };
    let count = put_back(client, WebhookId(webhook), args.id).await?.count;
    if args.common.json {
        output::json(&json!({"webhook": webhook, "retried": count}));
    } else if count > 0 {
        output::say(format_args!(
            "{count} put back into the queue of webhook {webhook}"
        ));
    } else if args.id.is_none() {
        output::say(
            "nothing to retry: there is no delivery that was given up, whose event is kept and that was not put back already",
        );
    }
    if count == 0 && args.id.is_some() {
        return Err(Failure::Failed(NOTHING_TO_RETRY.to_owned()));
    }
    Ok(())
}

/// Puts one delivery of a webhook back into the queue, or all that were given up.
async fn put_back(client: &mut Client, webhook: WebhookId, one: Option<i64>) -> Result<Retried, Failure> {
    let ordering = registry::ordering_of(client, webhook).await?.ok_or_else(|| {
        Failure::Failed(format!(
            "webhook {webhook} does not exist; `webhook list` shows those that do"
        ))
    })?;
    let ordered = ordering == Ordering::Object;
    let by = caller::caller();
    Ok(queue::retry(client, webhook, one, ordered, Duration::MAX, &by).await?)
}

async fn find(client: &Client, id: i64) -> Result<(Entry, Vec<AttemptEntry>), Failure> {
    listing::show(client, id).await?.ok_or_else(|| {
        Failure::Failed(format!(
            "delivery {id} does not exist; `delivery list` shows those that do"
        ))
    })
}

/// A delivery in one line.
fn line(entry: &Entry) -> String {
    let outcome = match (&entry.cause, entry.status) {
        (Some(cause), Some(status)) => format!("  {cause} {status}"),
        (Some(cause), None) => format!("  {cause}"),
        (None, Some(status)) => format!("  {status}"),
        (None, None) => String::new(),
    };
    let next = match entry.due_at {
        Some(at) if entry.state != "leased" => format!("  due {}", at.format("%F %T")),
        _ => String::new(),
    };
    format!(
        "{}  {}  {:<13}  webhook {}  {}  {}  {}  attempts {}{outcome}{next}",
        entry.id,
        entry.created_at.format("%F %T"),
        entry.state,
        entry.webhook,
        entry.class.as_deref().unwrap_or("(event gone)"),
        entry.lane,
        entry.event_id.as_deref().unwrap_or("-"),
        entry.attempts,
    )
}

/// An attempt: one line, and one for each part of the response.
fn attempt(entry: &AttemptEntry) -> Vec<String> {
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
