//! `run`: the sidecar.

use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::args::SettingsArgs;
use crate::telemetry;

/// Run the sidecar until SIGTERM or SIGINT.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(crate) fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let settings = crate::config::Loaded::read(&args.settings.sources()).settings?;
    telemetry::init_log(&settings.log, settings.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn({
            let shutdown = shutdown.clone();
            async move {
                tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
                tracing::info!("ending");
                shutdown.cancel();
            }
        });
        crate::run::run(settings, shutdown).await?;
        Ok(ExitCode::SUCCESS)
    })
}
