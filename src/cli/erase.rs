//! `erase`: removes what is stored about one object.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::args::SettingsArgs;
use super::failure::Failure;
use super::{caller, database, output};
use crate::config::Settings;
use crate::pipeline::erase::{self, EraseError};

/// Erase what is stored about one object: in the outbox, the events, the queue and the log. Nextcloud keeps its own row
#[derive(Debug, Args)]
pub(super) struct EraseArgs {
    /// The object's uuid
    uuid: String,
    /// Erase also if this is not in the form of a UUID: for objects that were imported with ids of another form
    #[arg(long)]
    any_form: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn run(args: EraseArgs) -> anyhow::Result<ExitCode> {
    database::command(args.settings.clone(), async move |settings| {
        erase(&settings, &args).await
    })
}

async fn erase(settings: &Settings, args: &EraseArgs) -> Result<ExitCode, Failure> {
    if !args.any_form && uuid::Uuid::try_parse(&args.uuid).is_err() {
        return Err(Failure::Usage(format!(
            "{:?} is no UUID (such as 0b5c1c9a-5f2e-4a55-9a0b-3d1c7b1f7f11), and nothing was erased; if the object really has this id, \
             add --any-form",
            args.uuid
        )));
    }
    let mut client = database::connect(&database::database(settings)?).await?;
    let done = erase::erase(&mut client, &settings.table_prefix, &args.uuid, &caller::caller())
        .await
        .map_err(|error| match error {
            EraseError::NoUuid(_) => Failure::Usage(error.to_string()),
            EraseError::Query(error) => Failure::Query(error),
        })?;
    // Whoever erases wants to know whether it was the right object.
    let code = if done.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    };
    if args.json {
        output::json(&json!(done));
        return Ok(code);
    }
    if done.is_empty() {
        output::note("nothing is stored about an object with this uuid; is it the right one?");
        return Ok(code);
    }
    for (count, what) in [
        (done.changes, "changes removed from the outbox"),
        (done.quarantined, "changes removed from the quarantine"),
        (done.events, "events removed"),
        (done.deliveries, "waiting deliveries cancelled"),
        (done.logged, "entries of the log anonymised"),
        (done.attempts, "attempts cleared of responses and errors"),
        (done.locks, "lock forgotten"),
    ] {
        if count > 0 {
            output::say(format_args!("{count:>8}  {what}"));
        }
    }
    output::note(
        "later changes of the object are captured and delivered as usual; copies in backups and at receivers are not erased",
    );
    Ok(code)
}
