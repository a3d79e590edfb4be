//! `job`, `replay` and `backfill`: long work that running sidecars do; begun, watched and cancelled from here.

mod backfill;
mod progress;
mod replay;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::args::CommonArgs;
use super::failure::Failure;
use super::{caller, database, output};
use crate::config::Settings;
use crate::pipeline::jobs::{self, JobState};
use crate::registry::WebhookId;

use progress::{find, follow, line, show, unknown};

pub(super) use backfill::{BackfillArgs, run as run_backfill};
pub(super) use replay::{ReplayArgs, run as run_replay};

#[derive(Debug, Args)]
pub(super) struct JobArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List replays and backfills, newest first
    List {
        /// Only those of this webhook
        #[arg(long)]
        webhook: Option<i64>,
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Show one, and follow it to its end with --follow
    Show {
        /// The job
        id: i64,
        /// Wait until it has ended, and show how far it is
        #[arg(long)]
        follow: bool,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Cancel one; what it put into the queue is still delivered
    Cancel {
        /// The job
        id: i64,
        #[command(flatten)]
        common: CommonArgs,
    },
}

pub(super) fn run(args: JobArgs) -> anyhow::Result<ExitCode> {
    let common = match &args.action {
        Action::List { common, .. } | Action::Show { common, .. } | Action::Cancel { common, .. } => {
            common.clone()
        }
    };
    database::command(common.settings, async move |settings| {
        act(&settings, args.action, common.json).await
    })
}

async fn act(settings: &Settings, action: Action, json: bool) -> Result<ExitCode, Failure> {
    let database = database::database(settings)?;
    let client = database::connect(&database).await?;
    match action {
        Action::List { webhook, limit, .. } => {
            let all = jobs::list(&client, webhook.map(WebhookId), None, limit).await?;
            if json {
                output::json(&json!(all));
            } else {
                if all.is_empty() {
                    output::note("there is no replay or backfill");
                }
                all.iter().for_each(|job| output::say(line(job)));
            }
            Ok(ExitCode::SUCCESS)
        }
        Action::Show {
            id, follow: false, ..
        } => {
            show(&find(&client, id).await?, json);
            Ok(ExitCode::SUCCESS)
        }
        Action::Show { id, .. } => {
            let job = find(&client, id).await?;
            follow(&client, job, json).await
        }
        Action::Cancel { id, .. } => {
            let job = jobs::cancel(&client, id, &caller::caller())
                .await?
                .ok_or_else(|| unknown(id))?;
            show(&job, json);
            Ok(if job.state == JobState::Done {
                output::note("it had ended before");
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            })
        }
    }
}
