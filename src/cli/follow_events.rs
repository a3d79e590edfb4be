//! `events --follow`: events as they happen.

use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;

use super::args::SettingsArgs;
use super::failure::Failure;
use super::{database, output};
use crate::arguments;
use crate::config::Settings;
use crate::delivery::queue::stream::{self, SeenEvent, StreamFilter};
use crate::lifecycle::EventType;

/// The pause before stored events are read again.
const INTERVAL: Duration = Duration::from_millis(500);

/// The flags of `events` that concern the events themselves, not the catalogue.
#[derive(Debug, Clone, Args)]
pub(super) struct FollowArgs {
    /// Print the events as they happen, until Ctrl-C; with --json, one line each
    #[arg(long, conflicts_with_all = ["markdown", "example", "schema"])]
    pub(super) follow: bool,
    /// With --follow: only events of this class, such as ObjectCreatedEvent
    #[arg(long, requires = "follow", value_parser = arguments::event_type)]
    class: Option<EventType>,
    /// With --follow: only events of the object with this uuid
    #[arg(long, requires = "follow", value_name = "UUID")]
    object: Option<String>,
    /// With --follow: only events that this webhook gets
    #[arg(long, requires = "follow", value_name = "ID", value_parser = arguments::id)]
    webhook: Option<i64>,
    /// With --follow: begin with those since then: a time (2026-11-25T10:00:00Z), a date, or an age (90m, 12h, 3d)
    #[arg(long, requires = "follow", value_name = "TIME", value_parser = arguments::since)]
    since: Option<DateTime<Utc>>,
    #[command(flatten)]
    pub(super) settings: SettingsArgs,
}

pub(super) fn run(args: FollowArgs, json: bool) -> anyhow::Result<ExitCode> {
    database::command(args.settings.clone(), async move |settings| {
        follow(&settings, args, json).await
    })
}

async fn follow(settings: &Settings, args: FollowArgs, json: bool) -> Result<ExitCode, Failure> {
    let client = database::connect(&database::database(settings)?).await?;
    let filter = StreamFilter {
        class: args.class.map(|class| class.to_string()),
        object: args.object,
        webhook: args.webhook,
    };
    let mut place = stream::place(&client, args.since).await?;
    output::note(
        "events are shown as they are stored, until Ctrl-C; an event that no webhook names is not stored, unless ORW_CAPTURE is all",
    );
    loop {
        let read = stream::after(&client, &filter, place).await?;
        read.events.iter().for_each(|event| show(event, json));
        if output::is_unread() {
            return Ok(ExitCode::SUCCESS);
        }
        place = read.place;
        if read.more {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            stopped = tokio::signal::ctrl_c() => {
                return match stopped {
                    Ok(()) => Ok(ExitCode::SUCCESS),
                    Err(error) => Err(Failure::Failed(format!("Ctrl-C cannot be waited for: {error}"))),
                };
            }
        }
    }
}

fn show(event: &SeenEvent, json: bool) {
    if json {
        return output::json_line(&json!(event));
    }
    let webhooks: Vec<String> = event.webhooks.iter().map(ToString::to_string).collect();
    let to = match webhooks.as_slice() {
        [] => "no webhook".to_owned(),
        [one] => format!("webhook {one}"),
        more => format!("webhooks {}", more.join(", ")),
    };
    let lane = event.lane.strip_prefix("object:").unwrap_or(&event.lane);
    output::one_line(format_args!(
        "{}  {:<26}  {}  {to}",
        event.at.format("%T%.3f"),
        event.class,
        output::short(lane),
    ));
}
