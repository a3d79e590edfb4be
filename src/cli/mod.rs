//! The commands.
//!
//! Guarantees: what a user reads names the thing, the reason and the next step; results go to standard output, errors
//! to standard error; the exit code is 0 only where everything that was asked for was done.

mod args;
mod config;
mod demo;
mod filter;
mod receive;
mod run;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Durable, ordered, signed webhooks for OpenRegister on Nextcloud.
#[derive(Debug, Parser)]
#[command(name = "openregister-webhooks", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the sidecar until SIGTERM or SIGINT.
    Run(run::RunArgs),
    /// Show the settings in effect, where each comes from, and what is wrong with them.
    Config(config::ConfigArgs),
    /// Show the main job: OpenRegister's writes arrive as webhooks, with nothing but what the demo starts itself.
    Demo(demo::DemoArgs),
    /// Try filters, or check one.
    Filter(filter::FilterArgs),
    /// Receive events on this machine, and print each and whether its signature is good.
    Receive(receive::ReceiveArgs),
}

/// Runs the command that the process was started with; the exit code says how it went.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Config(args) => config::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Filter(args) => filter::run(args),
        Command::Receive(args) => receive::run(args),
    };
    done.unwrap_or_else(|error| {
        // Nobody is left to tell where even this cannot be written.
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        ExitCode::FAILURE
    })
}
