//! `delivery`: what is waiting, what arrived and what was given up; and trying again by hand.

use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde_json::json;

use super::args::CommonArgs;
use super::failure::Failure;
use super::{caller, database, output, response};
use crate::arguments;
use crate::config::Settings;
use crate::delivery::log::{self, AttemptEntry, Entry, MAX_PAGE, Query, STATES};
use crate::delivery::queue::{self, Retried};
use crate::lifecycle::EventType;
use crate::registry::WebhookId;

#[derive(Debug, Args)]
pub(super) struct DeliveryArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List deliveries, waiting and finished, newest first
    List {
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
        /// Only those older than this one: to go on where the last list ended
        #[arg(long, value_name = "ID")]
        before: Option<i64>,
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_PAGE)))]
        limit: u16,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Show one with every attempt
    Show {
        /// The delivery
        id: i64,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Put what was given up or cancelled back into the queue, at the end of its object's lane
    #[command(group(clap::ArgGroup::new("which").required(true)))]
    Retry {
        /// This delivery
        #[arg(group = "which")]
        id: Option<i64>,
        /// Everything that was given up of this webhook, oldest first
        #[arg(long, group = "which", value_name = "ID")]
        webhook: Option<i64>,
        #[command(flatten)]
        common: CommonArgs,
    },
}

impl Action {
    const fn common(&self) -> &CommonArgs {
        match self {
            Self::List { common, .. } | Self::Show { common, .. } | Self::Retry { common, .. } => common,
        }
    }
}

pub(super) fn run(args: DeliveryArgs) -> anyhow::Result<ExitCode> {
    let settings = args.action.common().settings.clone();
    database::command(settings, async move |settings| act(&settings, args.action).await)
}

async fn act(settings: &Settings, action: Action) -> Result<ExitCode, Failure> {
    let as_json = action.common().json;
    let database = database::database(settings)?;
    let mut client = database::connect(&database).await?;
    match action {
        Action::List {
            webhook,
            state,
            class,
            since,
            before,
            limit,
            ..
        } => {
            let query = Query {
                webhook,
                state,
                class: class.map(|class| class.to_string()),
                since,
                before,
                limit,
            };
            let page = log::list(&client, &query).await?;
            if as_json {
                output::json(&json!({"deliveries": page.entries, "before": page.next}));
            } else {
                if page.entries.is_empty() && page.next.is_none() {
                    output::note("there is no such delivery");
                }
                page.entries.iter().for_each(|e| output::say(line(e)));
                if let Some(next) = page.next {
                    output::note(format_args!("there may be more: --before {next}"));
                }
            }
        }
        Action::Show { id, .. } => {
            let (entry, attempts) = log::show(&client, id).await?.ok_or_else(|| unknown(id))?;
            if as_json {
                output::json(&json!({"delivery": entry, "attempts": attempts}));
            } else {
                output::say(line(&entry));
                attempts.iter().flat_map(attempt).for_each(output::say);
            }
        }
        Action::Retry { id, webhook, .. } => {
            let webhook = match (id, webhook) {
                (Some(id), _) => {
                    log::show(&client, id)
                        .await?
                        .ok_or_else(|| unknown(id))?
                        .0
                        .webhook
                }
                (None, webhook) => webhook.unwrap_or_default(),
            };
            let retried = retry(&mut client, webhook, id).await?;
            let count = retried.count;
            if as_json {
                output::json(&json!({"webhook": webhook, "retried": count}));
            } else if count == 0 && id.is_none() {
                output::say(
                    "nothing to retry: nothing was given up whose event is kept and that was not put back already",
                );
            } else if count > 0 {
                output::say(format_args!(
                    "{count} put back into the queue of webhook {webhook}"
                ));
            }
            if count == 0 && id.is_some() {
                return Err(Failure::Failed(
                    "there is nothing to retry: it succeeded, waits still, was put back already, or its event is no longer kept"
                        .to_owned(),
                ));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn retry(client: &mut tokio_postgres::Client, of: i64, id: Option<i64>) -> Result<Retried, Failure> {
    let sql = "SELECT ordering = 'object' FROM openregister_webhooks.webhook WHERE id = $1";
    let row = client.query_opt(sql, &[&of]).await?.ok_or_else(|| {
        Failure::Failed(format!(
            "webhook {of} does not exist; `webhook list` shows those that do"
        ))
    })?;
    let ordered: bool = row.get(0);
    Ok(queue::retry(
        client,
        WebhookId(of),
        id,
        ordered,
        Duration::MAX,
        &caller::caller(),
    )
    .await?)
}

fn unknown(id: i64) -> Failure {
    Failure::Failed(format!(
        "delivery {id} does not exist; `delivery list` shows those that do"
    ))
}

/// One delivery in a line.
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

/// One attempt in a line or more.
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
