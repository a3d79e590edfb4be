//! `job`, `replay` and `backfill`: long work that running sidecars do; so is a bulk retry, which `delivery retry` starts. It is started, watched and cancelled from here.

mod backfill;
mod progress;
mod replay;

use std::process::ExitCode;

use chrono::Utc;
use clap::{Args, Subcommand};
use serde_json::json;
use tokio_postgres::Client;

use super::args::CommonArgs;
use super::failure::Failure;
use super::times::TimesArgs;
use super::{caller, database, output};
use crate::config::Settings;
use crate::pipeline::jobs::{self, JobState};
use crate::registry::WebhookId;

use progress::{find, follow, show_job, unknown};

pub(super) use backfill::{BackfillArgs, run as run_backfill};
pub(super) use progress::{refused, watch_all};
pub(super) use replay::{ReplayArgs, run as run_replay};

#[derive(Debug, Args)]
pub(super) struct JobArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List replays, backfills and bulk retries, newest first
    List(ListArgs),
    /// Show a job, and follow it to its end with --follow
    Show(ShowArgs),
    /// Cancel a job; what it put into the queue is still delivered
    Cancel(CancelArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only those of this webhook
    #[arg(long, value_name = "ID", value_parser = crate::arguments::id)]
    webhook: Option<i64>,
    /// How many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// Only those older than this one: goes on where the last list ended
    #[arg(long, value_name = "ID", value_parser = crate::arguments::id)]
    before: Option<i64>,
    #[command(flatten)]
    times: TimesArgs,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// The job
    #[arg(value_parser = crate::arguments::id)]
    id: i64,
    /// Wait until the job has ended, and show its progress
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct CancelArgs {
    /// The job
    #[arg(value_parser = crate::arguments::id)]
    id: i64,
    #[command(flatten)]
    common: CommonArgs,
}

impl Action {
    const fn common(&self) -> &CommonArgs {
        match self {
            Self::List(args) => &args.common,
            Self::Show(args) => &args.common,
            Self::Cancel(args) => &args.common,
        }
    }
}

pub(super) fn run(args: JobArgs) -> anyhow::Result<ExitCode> {
    let settings = args.action.common().settings.clone();
    database::command(settings, async move |settings| {
        execute(&settings, args.action).await
    })
}

async fn execute(settings: &Settings, action: Action) -> Result<ExitCode, Failure> {
    let database = database::database(settings)?;
    let client = database::connect(&database).await?;
    match action {
        Action::List(args) => list(&client, &args).await,
        Action::Show(args) => show(&client, &args).await,
        Action::Cancel(args) => cancel(&client, &args).await,
    }
}

async fn list(client: &Client, args: &ListArgs) -> Result<ExitCode, Failure> {
    let all = jobs::list(client, args.webhook.map(WebhookId), args.before, args.limit).await?;
    output::may_be_long();
    if args.common.json {
        output::json(&json!(all));
    } else {
        if all.is_empty() {
            output::note("there are no replays, backfills or bulk retries");
        }
        progress::table(&all, args.times.as_of(Utc::now())).print();
        if let Some(last) = all.last().filter(|_| all.len() == usize::from(args.limit)) {
            output::note(format_args!("there may be more: --before {}", last.id));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(client: &Client, args: &ShowArgs) -> Result<ExitCode, Failure> {
    let job = find(client, args.id).await?;
    if args.follow {
        return follow(client, job, args.common.json).await;
    }
    show_job(&job, args.common.json);
    Ok(ExitCode::SUCCESS)
}

/// Cancels a job; the exit code is 1 if it had ended before.
async fn cancel(client: &Client, args: &CancelArgs) -> Result<ExitCode, Failure> {
    let job = jobs::cancel(client, args.id, &caller::caller())
        .await?
        .ok_or_else(|| unknown(args.id))?;
    show_job(&job, args.common.json);
    if job.state == JobState::Done {
        output::note("the job had already ended");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
