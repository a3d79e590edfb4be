//! The commands.
//!
//! Guarantees: every message names the thing, the reason and the next step; results go to standard output, errors to standard
//! error; the exit code is 0 only if everything that was asked for was done, 1 if it was not or there are findings, 2 if the
//! command line or the settings are wrong, 3 if a part of the running sidecar kept failing.

mod adopt;
mod args;
mod caller;
mod completions;
mod config;
mod confirm;
mod database;
mod delivery;
mod demo;
mod doctor;
mod erase;
mod events;
mod failure;
mod filter;
mod follow_events;
mod given;
mod hash_password;
mod health;
mod import;
mod install;
mod job;
mod man;
mod output;
mod pager;
mod receive;
#[cfg(test)]
mod reference;
mod registry;
mod response;
mod rotate_key;
mod run;
mod status;
mod table;
mod template_check;
mod times;
mod uninstall;
mod webhook;
mod width;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// What `--help` ends with.
const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed, or there are findings; 2 the command line or the settings are wrong; \
     3 a part of the running sidecar kept failing";

/// Durable, ordered, signed webhooks for OpenRegister on Nextcloud.
#[derive(Debug, Parser)]
#[command(name = "openregister-webhooks", version, arg_required_else_help = true, after_help = EXIT_CODES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the sidecar until SIGTERM or SIGINT
    Run(run::RunArgs),
    /// After a restore into another cluster, decide what happens to undelivered events
    Adopt(adopt::AdoptArgs),
    /// Deliver every current object as created
    Backfill(job::BackfillArgs),
    /// Print the completions for bash, fish, powershell or zsh
    Completions(completions::CompletionsArgs),
    /// Show the settings in effect, where each comes from, and what is wrong with them
    Config(config::ConfigArgs),
    /// List deliveries, and retry those that were given up
    Delivery(delivery::DeliveryArgs),
    /// Show how OpenRegister's writes arrive as webhooks; the demo starts everything that it needs
    Demo(demo::DemoArgs),
    /// Find everything that keeps events from arriving, and say what to do about it
    Doctor(doctor::DoctorArgs),
    /// Erase what is stored about one object (privacy)
    Erase(erase::EraseArgs),
    /// List the events that webhooks can be registered for, or follow those that happen
    Events(events::EventsArgs),
    /// Evaluate filters, or check one
    Filter(filter::FilterArgs),
    /// Hash a password for ORW_ADMINS or the console; it is read from a prompt or from standard input
    HashPassword(hash_password::HashPasswordArgs),
    /// Ask the sidecar on this machine whether it does its work; the exit code is the answer
    Health(health::HealthArgs),
    /// Take over the registrations of OpenRegister's own webhooks
    Import(import::ImportArgs),
    /// Install the schema and the triggers in Nextcloud's database, or upgrade them
    Install(install::InstallArgs),
    /// List replays, backfills and bulk retries, or cancel one
    Job(job::JobArgs),
    /// Write a manual page for each command to a directory
    Man(man::ManArgs),
    /// Deliver again what was stored since a time
    Replay(job::ReplayArgs),
    /// Receive events on this machine, and print each and whether its signature is good
    Receive(receive::ReceiveArgs),
    /// Encrypt the stored secrets with a new master key: ORW_MASTER_KEY=NEW,OLD
    RotateKey(rotate_key::RotateKeyArgs),
    /// Show on one screen whether all is well, and what needs attention
    Status(status::StatusArgs),
    /// Remove everything from Nextcloud's database
    Uninstall(uninstall::UninstallArgs),
    /// List, register and change webhooks
    Webhook(webhook::WebhookArgs),
}

/// Runs the command that the process was started with, and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    output::escape_panics();
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        // The message repeats the arguments, which may come from somebody's data.
        Err(error) if error.use_stderr() => {
            output::note_page(args::without_far_hint(error).render());
            return ExitCode::from(2);
        }
        Err(error) => error.exit(),
    };
    let done = match command {
        Command::Run(args) => run::run(args),
        Command::Adopt(args) => adopt::run(args),
        Command::Backfill(args) => job::run_backfill(args),
        Command::Completions(args) => Ok(completions::run(&args, Cli::command())),
        Command::Config(args) => config::run(args),
        Command::Delivery(args) => delivery::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Erase(args) => erase::run(args),
        Command::Events(args) => events::run(args),
        Command::Filter(args) => filter::run(args),
        Command::HashPassword(args) => hash_password::run(args),
        Command::Health(args) => health::run(args),
        Command::Import(args) => import::run(args),
        Command::Install(args) => install::run(args),
        Command::Job(args) => job::run(args),
        Command::Man(args) => man::run(&args, Cli::command()),
        Command::Replay(args) => job::run_replay(args),
        Command::Receive(args) => receive::run(args),
        Command::RotateKey(args) => rotate_key::run(args),
        Command::Status(args) => status::run(args),
        Command::Uninstall(args) => uninstall::run(args),
        Command::Webhook(args) => webhook::run(args),
    };
    output::finish(done.unwrap_or_else(|error| {
        output::note(format_args!("error: {error:#}"));
        ExitCode::FAILURE
    }))
}
