//! `delivery`: what is waiting, what was delivered and what was given up; and retries by hand.

mod filter;
mod find;
mod follow;
mod print;
mod retry;

use std::process::ExitCode;

use chrono::Utc;
use clap::{Args, Subcommand};
use serde_json::json;
use tokio_postgres::Client;

use super::args::CommonArgs;
use super::failure::Failure;
use super::times::TimesArgs;
use super::{database, output};
use crate::arguments;
use crate::config::Settings;
use crate::delivery::queue::listing::{self, MAX_PAGE, Query};

#[derive(Debug, Args)]
pub(super) struct DeliveryArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List deliveries, waiting and finished, newest first
    List(ListArgs),
    /// Show a delivery with every attempt
    Show(ShowArgs),
    /// Put what was given up or cancelled back into the queue, at the end of its object's lane: one delivery, or all that match
    Retry(retry::RetryArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only those of this webhook
    #[arg(long, value_name = "ID", value_parser = arguments::id)]
    webhook: Option<i64>,
    #[command(flatten)]
    filter: filter::FilterArgs,
    /// Only those older than this one: goes on where the last list ended
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
    /// Go on until Ctrl-C, and print each delivery that comes or changes; with --json, one line each
    #[arg(long, conflicts_with = "before")]
    follow: bool,
    /// How many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_PAGE)))]
    limit: u16,
    #[command(flatten)]
    times: TimesArgs,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// The delivery
    #[arg(value_parser = arguments::id)]
    id: i64,
    #[command(flatten)]
    common: CommonArgs,
}

impl Action {
    const fn common(&self) -> &CommonArgs {
        match self {
            Self::List(args) => &args.common,
            Self::Show(args) => &args.common,
            Self::Retry(args) => &args.common,
        }
    }
}

pub(super) fn run(args: DeliveryArgs) -> anyhow::Result<ExitCode> {
    let settings = args.action.common().settings.clone();
    database::command(settings, async move |settings| {
        execute(&settings, args.action).await
    })
}

async fn execute(settings: &Settings, action: Action) -> Result<ExitCode, Failure> {
    let database = database::database(settings)?;
    let mut client = database::connect(&database).await?;
    match action {
        Action::List(args) => list(&client, args).await?,
        Action::Show(args) => show(&client, &args).await?,
        Action::Retry(args) => return retry::run(settings, &mut client, &args).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, args: ListArgs) -> Result<(), Failure> {
    let query = Query {
        filter: args.filter.read(args.webhook)?,
        before: args.before,
        limit: args.limit,
    };
    if args.follow {
        return follow::run(client, query, args.common.json).await;
    }
    let page = listing::list(client, &query).await?;
    output::may_be_long();
    if args.common.json {
        output::json(&json!({"deliveries": page.entries, "before": page.next}));
        return Ok(());
    }
    if page.entries.is_empty() && page.next.is_none() {
        output::note("there are no such deliveries");
    }
    let now = Utc::now();
    print::table(&page.entries, args.times.as_of(now), now).print();
    if let Some(next) = page.next {
        output::note(format_args!("there may be more: --before {next}"));
    }
    Ok(())
}

async fn show(client: &Client, args: &ShowArgs) -> Result<(), Failure> {
    let (entry, attempts) = find::find(client, args.id).await?;
    output::may_be_long();
    if args.common.json {
        output::json(&json!({"delivery": entry, "attempts": attempts}));
    } else {
        print::details(&entry).into_iter().for_each(output::say);
        let lines = attempts.iter().flat_map(print::attempt);
        lines.for_each(|line| output::prose(line, print::ATTEMPT));
    }
    Ok(())
}
