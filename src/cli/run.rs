//! `run`: the sidecar.

use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::args::SettingsArgs;
use super::failure::Failure;
use super::output;
use crate::telemetry;

/// Run the sidecar until SIGTERM or SIGINT
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(crate) fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let settings = match crate::config::Loaded::read(&args.settings.sources()).settings {
        Ok(settings) => settings,
        Err(error) => return Ok(ended(&error.into())),
    };
    telemetry::init_log(&settings.log, settings.log_format)?;
    telemetry::log_panics();
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(orw_model::json::STACK)
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
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
        Ok(crate::run::run(settings, shutdown)
            .await
            .map_or_else(|error| ended(&error.into()), |()| ExitCode::SUCCESS))
    });
    // A thread that still resolves a name may take longer than shutting down may.
    runtime.shutdown_background();
    ended
}

fn ended(failure: &Failure) -> ExitCode {
    output::print_failure(failure);
    failure.code()
}

/// Raises the limit of open files to the maximum: a proxied connection takes two, and most systems allow 1,024 unless a process asks
/// for more.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, limit = ?limit.current, "the limit of open files stays as it is");
    }
}
