//! `demo`: shows how writes arrive as webhooks.

use std::process::ExitCode;

use clap::Args;

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Keep everything running afterwards, until Ctrl-C, to try more
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new()?;
    let good = runtime.block_on(crate::demo::run(&mut super::output::lines(), args.keep))?;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
