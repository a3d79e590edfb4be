//! `uninstall`: removes everything from Nextcloud's database.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use tokio_postgres::Client;

use super::args::SettingsArgs;
use super::failure::Failure;
use super::{confirm, database, output};
use crate::capture::{self, InstallError};
use crate::config::Settings;
use crate::delivery::queue;
use crate::registry;

#[derive(Debug, Args)]
pub(super) struct UninstallArgs {
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Removes everything, after a confirmation.
pub(super) fn run(args: UninstallArgs) -> anyhow::Result<ExitCode> {
    let given = args.settings.clone();
    database::command(given, async move |settings| uninstall(&settings, &args).await)
}

async fn uninstall(settings: &Settings, args: &UninstallArgs) -> Result<ExitCode, Failure> {
    let database = database::database(settings)?;
    let client = database::connect_direct(&database, "uninstall").await?;
    if !exists(&client, "migration").await? {
        finish(args.json, false, &[], "there is no schema openregister_webhooks");
        return Ok(ExitCode::SUCCESS);
    }
    may(&client).await?;
    if !args.yes {
        let loss = what_goes(&client).await?;
        if !confirm::agreed(&format!(
            "This removes the triggers and the schema openregister_webhooks from {}, and with it {loss}.",
            database.target()
        ))? {
            output::note("nothing was changed");
            return Ok(ExitCode::FAILURE);
        }
    }
    let mut detached = Vec::new();
    let json = args.json;
    capture::uninstall(&client, |table, done| {
        if done {
            detached.push(table.to_owned());
        }
        if !json {
            let state = if done { "released" } else { "busy" };
            output::say(format_args!("{state:9} {table}"));
        }
    })
    .await?;
    finish(
        json,
        true,
        &detached,
        "nothing of openregister-webhooks is left in this database",
    );
    Ok(ExitCode::SUCCESS)
}

fn finish(json: bool, removed: bool, released: &[String], text: &str) {
    if json {
        output::json(&json!({ "removed": removed, "released": released }));
    } else {
        output::say(text);
    }
}

/// Whether the schema has this table.
async fn exists(client: &Client, table: &str) -> Result<bool, tokio_postgres::Error> {
    // By the catalogue alone: that needs no right on the schema.
    let row = client
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = 'openregister_webhooks' AND c.relname = $1)",
            &[&table],
        )
        .await?;
    Ok(row.get(0))
}

/// Refuses a role that may not uninstall, before anything is asked or done.
async fn may(client: &Client) -> Result<(), Failure> {
    let row = client
        .query_one(
            "SELECT current_user::text, pg_get_userbyid(nspowner)::text, pg_has_role(nspowner, 'MEMBER') \
             FROM pg_namespace WHERE nspname = 'openregister_webhooks'",
            &[],
        )
        .await?;
    let (user, owner): (String, String) = (row.get(0), row.get(1));
    if row.get(2) {
        Ok(())
    } else {
        Err(InstallError::NotOwner { user, owner }.into())
    }
}

/// What is lost by uninstalling, counted.
async fn what_goes(client: &Client) -> Result<String, tokio_postgres::Error> {
    let mut parts = Vec::new();
    if exists(client, "webhook").await? {
        parts.push(format!("{} webhooks", registry::count(client).await?));
    }
    if exists(client, "delivery").await? {
        let unfinished = queue::count(client, None, i64::MAX).await?;
        parts.push(format!("{unfinished} unfinished deliveries"));
    }
    parts.push("the log".to_owned());
    Ok(parts.join(", "))
}
