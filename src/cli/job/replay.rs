//! `replay`.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args;

use super::progress::{follow, refused, show_job, started};
use crate::arguments;
use crate::cli::args::CommonArgs;
use crate::cli::failure::Failure;
use crate::cli::{caller, database, registry};
use crate::config::Settings;
use crate::pipeline::jobs::{ReplayRequest, start_replay};
use orw_model::EventClass;

/// Deliver again what was stored since a time, through the webhook's current filter; new events of the webhook follow in order
#[derive(Debug, Args)]
pub(in crate::cli) struct ReplayArgs {
    /// For this webhook
    #[arg(long, value_name = "ID", value_parser = crate::arguments::id)]
    webhook: i64,
    /// Since when: a time (2026-11-25T10:00:00Z), a date, or an age (90m, 12h, 3d)
    #[arg(long, value_name = "TIME", value_parser = arguments::since)]
    since: DateTime<Utc>,
    /// Only events of this class, such as ObjectCreatedEvent
    #[arg(long, value_parser = arguments::class)]
    class: Option<EventClass>,
    /// Only events of the object with this uuid
    #[arg(long, value_name = "UUID")]
    object: Option<String>,
    /// Start the job, and do not wait for its end
    #[arg(long)]
    background: bool,
    #[command(flatten)]
    common: CommonArgs,
}

pub(in crate::cli) fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    database::command(args.common.settings.clone(), async move |settings| {
        replay(&settings, args).await
    })
}

async fn replay(settings: &Settings, args: ReplayArgs) -> Result<ExitCode, Failure> {
    let registry = registry::open(settings).await?;
    let webhook = registry::find(&registry, args.webhook)?;
    let mut client = database::connect(&database::database(settings)?).await?;
    let ask = ReplayRequest {
        since: args.since,
        class: args.class,
        object: args.object,
    };
    let job = start_replay(&mut client, &webhook, &ask, &caller::caller())
        .await
        .map_err(refused)?;
    started(&job);
    if args.background {
        show_job(&job, args.common.json);
        return Ok(ExitCode::SUCCESS);
    }
    follow(&client, job, args.common.json).await
}
