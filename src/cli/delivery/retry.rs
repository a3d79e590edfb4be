//! `delivery retry`: what was given up goes back into the queue.
//!
//! Everything of a webhook, or of all, is put back by this command itself, so it works while no sidecar runs. What a filter picks out
//! is put back by a job, which running sidecars do step by step.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio_postgres::Client;

use super::filter::FilterArgs;
use super::find::find;
use crate::arguments;
use crate::cli::args::CommonArgs;
use crate::cli::failure::Failure;
use crate::cli::{caller, confirm, job, output};
use crate::config::Settings;
use crate::delivery::queue::{self, Retried};
use crate::pipeline::jobs;
use crate::registry::{self, Ordering, WebhookId};

const NOTHING_MATCHES: &str = "there is nothing to retry: no delivery matches that was given up, whose event is kept and that was not put back already";
const NOTHING_TO_RETRY: &str = "there is nothing to retry: the delivery succeeded, still waits or was put back already, or its event is no longer kept";
/// So many are counted before the question whether to go on.
const COUNTED: i64 = 100_000;

#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = true, args = ["id", "webhook", "all"])]
pub(super) struct RetryArgs {
    /// This delivery
    #[arg(value_parser = arguments::id, conflicts_with_all = ["webhook", "all"])]
    id: Option<i64>,
    /// Everything that was given up, oldest first. --webhook and the flags below limit it
    #[arg(long)]
    all: bool,
    /// Everything that was given up of this webhook
    #[arg(long, value_name = "ID", value_parser = arguments::id)]
    webhook: Option<i64>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Only say how many deliveries would be put back
    #[arg(long, conflicts_with = "id")]
    dry_run: bool,
    /// Start the jobs, and do not wait for their end
    #[arg(long, conflicts_with = "id")]
    background: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

pub(super) async fn run(
    settings: &Settings,
    client: &mut Client,
    args: &RetryArgs,
) -> Result<ExitCode, Failure> {
    match args.id {
        Some(_) if !args.filter.is_empty() => Err(Failure::Usage(
            "a delivery is named by its number alone; leave the other flags out, or the number".to_owned(),
        )),
        Some(id) => one(client, id, args.common.json).await,
        None if args.filter.is_empty() && !args.dry_run && !args.background => all(client, args).await,
        None => matching(settings, client, args).await,
    }
}

/// Everything that the flags show, by jobs.
async fn matching(settings: &Settings, client: &mut Client, args: &RetryArgs) -> Result<ExitCode, Failure> {
    let filter = args.filter.read(args.webhook)?;
    let counted = jobs::count_retry(client, &filter).await.map_err(job::refused)?;
    let count = if counted.exact {
        counted.count.to_string()
    } else {
        format!("more than {}", counted.count)
    };
    if args.dry_run {
        if args.common.json {
            output::json(&json!(counted));
        } else {
            output::say(format_args!("{count} would be put back into the queue"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    if counted.exact && counted.count == 0 {
        return Err(Failure::Failed(NOTHING_MATCHES.to_owned()));
    }
    if !args.yes
        && confirm::can_ask()
        && !confirm::agreed(&format!("This puts {count} deliveries back into the queue."))?
    {
        output::note("nothing was changed");
        return Ok(ExitCode::FAILURE);
    }
    let registry = crate::cli::registry::open(settings).await?;
    let started = jobs::start_retry(client, &registry.snapshot(), &filter, &caller::caller())
        .await
        .map_err(job::refused)?;
    for skipped in &started.skipped {
        output::note(&skipped.reason);
    }
    job::watch_all(client, started.jobs, args.background, args.common.json).await
}

async fn one(client: &mut Client, id: i64, json: bool) -> Result<ExitCode, Failure> {
    let webhook = find(client, id).await?.0.webhook;
    let count = put_back(client, WebhookId(webhook), Some(id)).await?.count;
    if json {
        output::json(&json!({"webhook": webhook, "retried": count}));
    } else if count > 0 {
        output::say(format_args!(
            "{count} put back into the queue of webhook {webhook}"
        ));
    }
    if count == 0 {
        return Err(Failure::Failed(NOTHING_TO_RETRY.to_owned()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything that was given up of one webhook, or of all.
async fn all(client: &mut Client, args: &RetryArgs) -> Result<ExitCode, Failure> {
    let webhooks = match args.webhook {
        Some(webhook) => vec![webhook],
        None => registry::ids(client).await?,
    };
    let mut waiting = 0;
    for webhook in &webhooks {
        waiting += queue::count_given_up(client, WebhookId(*webhook), COUNTED - waiting).await?;
    }
    if waiting > 0 && !args.yes && confirm::can_ask() {
        let count = if waiting == COUNTED {
            format!("at least {waiting}")
        } else {
            waiting.to_string()
        };
        let whose = args.webhook.map_or_else(
            || "all webhooks".to_owned(),
            |webhook| format!("webhook {webhook}"),
        );
        if !confirm::agreed(&format!(
            "This puts {count} given-up deliveries of {whose} back into the queue."
        ))? {
            output::note("nothing was changed");
            return Ok(ExitCode::FAILURE);
        }
    }
    let mut total = 0;
    let mut each = Vec::new();
    for webhook in &webhooks {
        let count = put_back(client, WebhookId(*webhook), None).await?.count;
        total += count;
        each.push(json!({"webhook": webhook, "retried": count}));
        if count > 0 && !args.common.json {
            output::say(format_args!(
                "{count} put back into the queue of webhook {webhook}"
            ));
        }
    }
    if args.common.json {
        output::json(&match args.webhook {
            Some(webhook) => json!({"webhook": webhook, "retried": total}),
            None => json!({"retried": total, "webhooks": each}),
        });
    } else if total == 0 {
        output::prose(
            "nothing to retry: there is no delivery that was given up, whose event is kept and that was not put back already",
            0,
        );
    }
    Ok(ExitCode::SUCCESS)
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
