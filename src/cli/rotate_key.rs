//! `rotate-key`: encrypts the stored secrets with a new master key.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::args::SettingsArgs;
use super::failure::Failure;
use super::{database, output, registry};

#[derive(Debug, Args)]
pub(super) struct RotateKeyArgs {
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Encrypts every secret again; `ORW_MASTER_KEY` holds the new key and, after a comma, the old one.
pub(super) fn run(args: RotateKeyArgs) -> anyhow::Result<ExitCode> {
    let json = args.json;
    database::command(args.settings, async move |settings| {
        let registry = registry::open(&settings).await?;
        let count = registry.rotate_key().await?;
        if json {
            output::json(&json!({"webhooks": count}));
        } else {
            output::say(format_args!(
                "the secrets of {count} webhooks are encrypted with the first key of ORW_MASTER_KEY; the other keys are no longer needed"
            ));
        }
        Ok::<_, Failure>(ExitCode::SUCCESS)
    })
}
