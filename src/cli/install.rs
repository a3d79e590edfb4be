//! `install`: the schema and the triggers in Nextcloud's database.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::args::SettingsArgs;
use super::failure::Failure;
use super::{database, output};
use crate::capture::{self, InstallOptions};
use crate::config::Settings;

#[derive(Debug, Args)]
pub(super) struct InstallArgs {
    /// An existing role that will run the sidecar; it gets no more rights than that needs
    #[arg(long, value_name = "NAME")]
    runtime_role: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Installs or upgrades; the exit code is 1 if a table stayed busy.
pub(super) fn run(args: InstallArgs) -> anyhow::Result<ExitCode> {
    let given = args.settings.clone();
    database::command(given, async move |settings| install(&settings, &args).await)
}

async fn install(settings: &Settings, args: &InstallArgs) -> Result<ExitCode, Failure> {
    let database = database::database(settings)?;
    let mut client = database::connect_direct(&database, "install").await?;
    let options = InstallOptions {
        table_prefix: settings.table_prefix.clone(),
        runtime_role: args.runtime_role.clone(),
        capture_all: settings.capture_all,
    };
    let json = args.json;
    let installed = capture::install(&mut client, &options, |table, done| {
        if !json {
            let state = if done { "captured" } else { "busy" };
            output::say(format_args!("{state:9} {table}"));
        }
    })
    .await?;
    if json {
        output::json(&json!({
            "migrations": installed.migrations,
            "captured": installed.captured,
            "busy": installed.busy,
        }));
    } else {
        for migration in &installed.migrations {
            output::say(format_args!("applied   {migration}"));
        }
        output::say(format_args!(
            "{} tables are captured in {}",
            installed.captured.len(),
            database.target()
        ));
    }
    if installed.busy.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    output::note(format_args!(
        "{} stayed busy and {} not captured yet: run install again, or start the sidecar, which tries again by itself",
        installed.busy.join(", "),
        if installed.busy.len() == 1 { "is" } else { "are" }
    ));
    Ok(ExitCode::FAILURE)
}
