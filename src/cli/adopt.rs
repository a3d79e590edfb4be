//! `adopt`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::args::SettingsArgs;
use super::failure::Failure;
use super::{database, output};
use crate::capture::{self, Decision};
use crate::config::Settings;

#[derive(Debug, Args)]
#[group(id = "decision", required = true, multiple = false, args = ["deliver", "discard"])]
pub(super) struct AdoptArgs {
    /// This database goes on where the old one stopped: deliver everything that is not known to be delivered
    #[arg(long)]
    deliver: bool,
    /// This is a copy, and the old one goes on: drop what is unread and cancel what is undelivered
    #[arg(long)]
    discard: bool,
    /// How long to wait for each change table to be out of use for an instant
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=3600))]
    wait: u64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Decides, and says what was done.
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
    let done = capture::adopt(&mut client, decision, Duration::from_secs(args.wait)).await?;
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
        "{} is adopted: the position was of {}, and is now of {}",
        database.target(),
        done.from,
        done.to
    ));
    output::say(match decision {
        Decision::Deliver => format!(
            "{} changes wait to be delivered before anything later; those that had been delivered in the old cluster come again, \
             with the same webhook-id",
            done.changes
        ),
        Decision::Discard => format!(
            "{} unread changes are dropped; {} unfinished deliveries are cancelled, the log names them",
            done.changes, done.cancelled
        ),
    });
    output::say("a waiting sidecar goes on by itself within a second");
    Ok(ExitCode::SUCCESS)
}
