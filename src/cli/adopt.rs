//! `adopt`: what happens to undelivered events after a restore into another cluster.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::args::SettingsArgs;
use super::failure::Failure;
use super::{database, output};
use crate::capture::Decision;
use crate::config::Settings;
use crate::pipeline;

#[derive(Debug, Args)]
#[group(id = "decision", required = true, multiple = false, args = ["deliver", "discard"])]
pub(super) struct AdoptArgs {
    /// This database continues where the old one stopped: deliver everything that is not known to be delivered
    #[arg(long)]
    deliver: bool,
    /// This database is a copy, and the old one continues: drop what is unread and cancel what is undelivered
    #[arg(long)]
    discard: bool,
    /// How long to wait for a moment in which a change table is not in use; for each of them
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=3600))]
    wait: u64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Adopts the database, and says what was done.
pub(super) fn run(args: AdoptArgs) -> anyhow::Result<ExitCode> {
    let given = args.settings.clone();
    database::command(given, async move |settings| adopt(&settings, &args).await)
}

async fn adopt(settings: &Settings, args: &AdoptArgs) -> Result<ExitCode, Failure> {
    let database = database::database(settings)?;
    let mut client = database::connect(&database).await?;
    let decision = if args.deliver {
        Decision::Deliver
    } else {
        Decision::Discard
    };
    let done = pipeline::adopt(&mut client, decision, Duration::from_secs(args.wait)).await?;
    if args.json {
        output::json(&json!({
            "decision": if args.deliver { "deliver" } else { "discard" },
            "changes": done.changes,
            "cancelled": done.cancelled,
            "from": done.from.to_string(),
            "to": done.to.to_string(),
        }));
        return Ok(ExitCode::SUCCESS);
    }
    output::say(format_args!(
        "{} is adopted: the stored position belonged to {}, and now belongs to {}",
        database.target(),
        done.from,
        done.to
    ));
    output::say(match decision {
        Decision::Deliver => format!(
            "{} changes will be delivered before later ones; those that were already delivered in the old cluster are repeated \
             with the same webhook-id",
            done.changes
        ),
        Decision::Discard => format!(
            "{} unread changes were dropped; {} unfinished deliveries were cancelled, and the log lists them",
            done.changes, done.cancelled
        ),
    });
    output::say("a sidecar that waits for this continues by itself within a second");
    Ok(ExitCode::SUCCESS)
}
