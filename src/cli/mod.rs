//! The commands.
//!
//! Guarantees: what a user reads names the thing, the reason and the next step; results go to standard output, errors
//! to standard error; the exit code is 0 only where everything that was asked for was done, 1 where it was not or there
//! are findings, 2 where the command line or the settings are wrong, 3 where a part of the running sidecar kept failing.

mod adopt;
mod args;
mod caller;
mod config;
mod database;
mod delivery;
mod demo;
mod doctor;
mod erase;
mod events;
mod failure;
mod filter;
mod install;
mod job;
mod output;
mod receive;
mod registry;
mod response;
mod rotate_key;
mod run;
mod uninstall;
mod webhook;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What `--help` ends with.
const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed, or there are findings; 2 the command line or the settings are wrong; \
     3 a part of the running sidecar kept failing";

/// Durable, ordered, signed webhooks for OpenRegister on Nextcloud.
#[derive(Debug, Parser)]
#[command(name = "openregister-webhooks", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the sidecar until SIGTERM or SIGINT.
    Run(run::RunArgs),
    /// After a restore into another cluster: decide what becomes of what had not been delivered.
    Adopt(adopt::AdoptArgs),
    /// Deliver every current object as created.
    Backfill(job::BackfillArgs),
    /// Show the settings in effect, where each comes from, and what is wrong with them.
    Config(config::ConfigArgs),
    /// Look at deliveries, and try those again that were given up.
    Delivery(delivery::DeliveryArgs),
    /// Show the main job: OpenRegister's writes arrive as webhooks, with nothing but what the demo starts itself.
    Demo(demo::DemoArgs),
    /// Look for everything that keeps events from arriving, and say what to do about it.
    Doctor(doctor::DoctorArgs),
    /// Erase what is stored of one object (privacy).
    Erase(erase::EraseArgs),
    /// List the events that webhooks can be registered for.
    Events(events::EventsArgs),
    /// Try filters, or check one.
    Filter(filter::FilterArgs),
    /// Install the schema and the triggers into Nextcloud's database, or bring them up to date.
    Install(install::InstallArgs),
    /// Look at replays and backfills, or cancel one.
    Job(job::JobArgs),
    /// Deliver again what was stored since a time.
    Replay(job::ReplayArgs),
    /// Receive events on this machine, and print each and whether its signature is good.
    Receive(receive::ReceiveArgs),
    /// Encrypt the stored secrets with a new master key: ORW_MASTER_KEY=NEW,OLD.
    RotateKey(rotate_key::RotateKeyArgs),
    /// Take everything back out of Nextcloud's database.
    Uninstall(uninstall::UninstallArgs),
    /// List, register and change webhooks.
    Webhook(webhook::WebhookArgs),
}

/// Runs the command that the process was started with; the exit code says how it went.
#[must_use]
pub fn main() -> ExitCode {
    output::escape_panics();
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        // It repeats what was given, which may come from somebody's data.
        Err(error) if error.use_stderr() => {
            output::note_page(error.render());
            return ExitCode::from(2);
        }
        Err(error) => error.exit(),
    };
    let done = match command {
        Command::Run(args) => run::run(args),
        Command::Adopt(args) => adopt::run(args),
        Command::Backfill(args) => job::run_backfill(args),
        Command::Config(args) => config::run(args),
        Command::Delivery(args) => delivery::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Erase(args) => erase::run(args),
        Command::Events(args) => events::run(args),
        Command::Filter(args) => filter::run(args),
        Command::Install(args) => install::run(args),
        Command::Job(args) => job::run(args),
        Command::Replay(args) => job::run_replay(args),
        Command::Receive(args) => receive::run(args),
        Command::RotateKey(args) => rotate_key::run(args),
        Command::Uninstall(args) => uninstall::run(args),
        Command::Webhook(args) => webhook::run(args),
    };
    done.unwrap_or_else(|error| {
        output::note(format_args!("error: {error:#}"));
        ExitCode::FAILURE
    })
}
