//! `events`: the catalogue of events, and the events that happen.

use std::process::ExitCode;

use clap::Args;

use super::follow_events::{self, FollowArgs};
use super::output::{self, json, page, prose, say};
use crate::catalogue;
use crate::lifecycle::EventType;
use crate::registry::{DataMode, Format};
use orw_model::{EventClass, UNAVAILABLE};

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Print the whole catalogue as JSON, with a JSON Schema and an example for every payload; with --follow, each event as JSON
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print the page docs/events.md
    #[arg(long)]
    markdown: bool,
    /// Print the body that a webhook receives for this event (short or full name), to try a receiver with
    #[arg(long, value_name = "EVENT", conflicts_with_all = ["json", "markdown"])]
    example: Option<String>,
    /// Print the JSON Schema of the body of this event, or of `all` (as in docs/schemas)
    #[arg(long, value_name = "EVENT", conflicts_with_all = ["json", "markdown", "example"])]
    schema: Option<String>,
    /// The format of the example or the schema
    #[arg(long, value_name = "FORMAT", default_value = "documented", value_parser = format_of)]
    format: Format,
    #[command(flatten)]
    follow: FollowArgs,
}

fn format_of(name: &str) -> Result<Format, String> {
    Format::parse(name).ok_or_else(|| format!("must be one of {}", Format::NAMES.join(", ")))
}

pub(crate) fn run(args: EventsArgs) -> anyhow::Result<ExitCode> {
    if args.follow.follow {
        return follow_events::run(args.follow, args.json);
    }
    output::may_be_long();
    if let Some(name) = &args.example {
        let rendered = catalogue::sample(
            &catalogue::example_of(event_type(name)?),
            args.format,
            DataMode::Full,
        )?;
        page(String::from_utf8_lossy(&rendered.body));
    } else if let Some(name) = &args.schema {
        json(&match name.as_str() {
            "all" => catalogue::format_schema(args.format),
            name => match event_type(name)? {
                EventType::Class(class) => catalogue::payload_schema(class, args.format),
                EventType::Gap => catalogue::gap_schema(args.format),
            },
        });
    } else if args.json {
        json(&catalogue::json());
    } else if args.markdown {
        page(catalogue::markdown().trim_end());
    } else {
        for class in EventClass::all() {
            say(class.name());
            prose(format_args!("    {}", catalogue::when(class)), 4);
        }
        page("\nOpenRegister has more events, which its rows do not tell:");
        for group in &UNAVAILABLE {
            prose(group.classes.join(", "), 0);
            prose(format_args!("    {}", group.reason), 4);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The event with this short or full name.
fn event_type(name: &str) -> anyhow::Result<EventType> {
    crate::arguments::event_type(name).map_err(anyhow::Error::msg)
}
