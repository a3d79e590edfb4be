//! `import`: takes over the registrations of OpenRegister's own webhooks.

use std::process::ExitCode;

use clap::Args;
use orw_egress::Guard;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::args::CommonArgs;
use super::failure::Failure;
use super::registry::open;
use super::{caller, database, output};
use crate::config::Settings;
use crate::import::{self, Done, ImportError, Imported, Outcome};

/// Take over the registrations of OpenRegister's own webhooks; what was taken over before is left alone
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Show what would be registered and what has no counterpart, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: CommonArgs,
}

pub(super) fn run(args: ImportArgs) -> anyhow::Result<ExitCode> {
    let settings = args.common.settings.clone();
    database::command(settings, async move |settings| take_over(&settings, &args).await)
}

async fn take_over(settings: &Settings, args: &ImportArgs) -> Result<ExitCode, Failure> {
    let registry = open(settings).await?;
    let mut client = database::connect(&database::database(settings)?).await?;
    let guard = Guard::new(settings.targets_allow.clone(), settings.targets_allow_http);
    let by = caller::caller();
    let all = import::run(
        &mut client,
        &registry,
        &settings.table_prefix,
        &guard,
        &by,
        args.dry_run,
    )
    .await
    .map_err(|error| match error {
        ImportError::Query(error) => Failure::Query(error),
        ImportError::Registry(error) => error.into(),
        other => Failure::Failed(other.to_string()),
    })?;
    if args.common.json {
        output::json(&json!({"dryRun": args.dry_run, "rows": all}));
    } else {
        print(&all, args.dry_run);
    }
    Ok(if args.dry_run || all.iter().all(is_complete) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whether a row is taken over, now or before.
fn is_complete(row: &Imported) -> bool {
    matches!(row.plan.outcome, Outcome::Register { .. })
        && !row.done.iter().any(|done| matches!(done, Done::Refused(_)))
}

fn print(all: &[Imported], dry: bool) {
    if all.is_empty() {
        output::note("OpenRegister has no webhooks: there is nothing to take over");
    }
    for row in all {
        output::say(format_args!("{}  {}", row.plan.id, row.plan.name));
        match &row.plan.outcome {
            Outcome::LeftOut { reason } => output::say(format_args!("    left out: {reason}")),
            Outcome::Register { webhooks } => {
                for (planned, done) in webhooks.iter().zip(&row.done) {
                    output::say(format_args!("    {}  {}", planned.event, result(done)));
                    if !planned.event_filter.is_empty() {
                        let filter = json!(planned.event_filter);
                        output::say(format_args!("        filter: {filter}"));
                    }
                    if let Done::Registered { secret, warnings, .. } = done {
                        if let Some(secret) = secret {
                            output::say(format_args!("        signing secret: {}", secret.expose_secret()));
                        }
                        for warning in warnings {
                            output::say(format_args!("        warning: {warning}"));
                        }
                    }
                }
            }
        }
        for note in &row.plan.notes {
            output::say(format_args!("    note: {note}"));
        }
        for host in &row.plan.allow {
            output::say(format_args!(
                "    note: it may be sent to a private address: ORW_TARGETS_ALLOW needs {host}, or its network"
            ));
        }
    }
    if !all.is_empty() && dry {
        output::note("nothing was changed; without --dry-run the webhooks above are registered");
    } else if !all.is_empty() {
        output::note(
            "OpenRegister's own webhooks are as they were: switch each one off there when its successor works, or its receiver gets both",
        );
    }
}

fn result(done: &Done) -> String {
    match done {
        Done::Planned => "would be registered".to_owned(),
        Done::Registered { webhook, .. } => format!("registered as webhook {webhook}"),
        Done::Before(webhook) => format!("was taken over before, as webhook {webhook}"),
        Done::There(webhook) => format!("is registered already, as webhook {webhook}"),
        Done::Refused(reason) => format!("refused: {reason}"),
    }
}
