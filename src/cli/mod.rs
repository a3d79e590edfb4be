//! The commands.

use clap::Parser;

/// Durable, ordered, signed webhooks for OpenRegister on Nextcloud.
#[derive(Debug, Parser)]
#[command(name = "openregister-webhooks", version)]
struct Cli {}

/// Runs the command that the process was started with; the exit code says how it went.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let Cli {} = Cli::parse();
    std::process::ExitCode::SUCCESS
}
