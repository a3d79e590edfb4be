//! `demo`: shows how writes arrive as webhooks.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Keep everything running afterwards, until Ctrl-C, to try more
    #[arg(long)]
    keep: bool,
    /// Start only a database with OpenRegister's tables to practise with, write its connection string to this file, and keep both
    /// until Ctrl-C
    #[arg(long, value_name = "FILE", conflicts_with = "keep")]
    practice: Option<PathBuf>,
}

pub(super) fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new()?;
    if let Some(file) = &args.practice {
        runtime.block_on(crate::demo::practice(&mut super::output::lines(), file))?;
        return Ok(ExitCode::SUCCESS);
    }
    let good = runtime.block_on(crate::demo::run(&mut super::output::lines(), args.keep))?;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
