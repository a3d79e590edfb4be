//! `status`: whether all is well, on one screen.

use std::process::ExitCode;

use chrono::{TimeDelta, Utc};
use clap::Args;
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::args::CommonArgs;
use super::failure::Failure;
use super::table::{Cell, Column, Table, Tone, ago, one_unit};
use super::{database, output, registry};
use crate::capture::outbox::{self, Outbox};
use crate::config::Settings;
use crate::delivery::depth::{self, Depth};
use crate::delivery::statistics::{self, Statistics};
use crate::doctor::{self, Level, Report};
use crate::registry::{Registry, Status};

/// So many webhooks that need attention are listed.
const LISTED: usize = 8;
/// How far the lines of a finding after its first are indented.
const HANGING: usize = 10;

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    common: CommonArgs,
}

/// What is shown.
struct Overview {
    report: Report,
    outbox: Outbox,
    depth: Depth,
    /// By state: enabled, paused, disabled.
    webhooks: [(&'static str, usize); 3],
    /// Those that are disabled, or whose receiver fails.
    attention: Vec<(Statistics, String)>,
}

/// Shows the state of everything; the exit code is 1 if `doctor` finds an error.
pub(super) fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let given = args.common.settings.clone();
    database::command(given, async move |settings| {
        status(&settings, args.common.json).await
    })
}

async fn status(settings: &Settings, json: bool) -> Result<ExitCode, Failure> {
    let database = database::database(settings)?;
    let report = doctor::examine(&database, settings).await;
    let registry = registry::open(settings).await?;
    let client = database::connect(&database).await?;
    let overview = overview(&client, &registry, report).await?;
    output::may_be_long();
    if json {
        output::json(&overview.json());
    } else {
        overview.print(settings);
    }
    Ok(if overview.report.worst() == Level::Error {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn overview(client: &Client, registry: &Registry, report: Report) -> Result<Overview, Failure> {
    let snapshot = registry.snapshot();
    let all = snapshot.all();
    let count = |state: &str| {
        all.iter()
            .filter(|webhook| webhook.status.name() == state)
            .count()
    };
    let ids: Vec<i64> = all.iter().map(|webhook| webhook.id.0).collect();
    let figures = statistics::of(client, &ids).await?;
    let attention = all.iter().zip(figures).filter_map(|(webhook, figures)| {
        let why = match &webhook.status {
            Status::Disabled { reason, .. } => format!("disabled: {reason}"),
            Status::Paused => return None,
            Status::Enabled if figures.failures_in_a_row == 0 => return None,
            Status::Enabled => format!(
                "{} failures in a row: {}",
                figures.failures_in_a_row,
                figures.last_cause.as_deref().unwrap_or("unknown cause")
            ),
        };
        Some((figures, why))
    });
    let attention = attention.collect();
    let outbox = outbox::measure(client)
        .await
        .map_err(|error| Failure::Failed(crate::error_text::chain(&error)))?;
    Ok(Overview {
        webhooks: ["enabled", "paused", "disabled"].map(|state| (state, count(state))),
        attention,
        outbox,
        depth: depth::measure(client).await?,
        report,
    })
}

impl Overview {
    fn json(&self) -> Value {
        let attention: Vec<_> = self
            .attention
            .iter()
            .map(|(figures, why)| json!({"webhook": figures.webhook, "why": why, "statistics": figures}))
            .collect();
        json!({
            "doctor": self.report.json(),
            "outbox": {
                "bytes": self.outbox.bytes,
                "oldestUnreadSeconds": self.outbox.oldest_unread.map(|age| age.as_secs_f64()),
                "stopped": self.outbox.stopped,
            },
            "queue": self.depth.states.iter().map(|(state, count)| ((*state).to_owned(), json!(count))).collect::<serde_json::Map<_, _>>(),
            "oldestDeliverySeconds": self.depth.webhooks.first().map(|one| one.oldest_seconds),
            "webhooks": self.webhooks.iter().map(|(state, count)| ((*state).to_owned(), json!(count))).collect::<serde_json::Map<_, _>>(),
            "attention": attention,
        })
    }

    fn print(&self, settings: &Settings) {
        let (errors, warnings) = (self.report.count(Level::Error), self.report.count(Level::Warning));
        let (verdict, tone) = match (errors, warnings) {
            (0, 0) => ("everything is fine".to_owned(), Tone::Good),
            (0, warnings) => (format!("events arrive; warnings: {warnings}"), Tone::Attention),
            (errors, warnings) => (
                format!("EVENTS DO NOT ARRIVE; errors: {errors}, warnings: {warnings}"),
                Tone::Bad,
            ),
        };
        let mut table = Table::new([
            Column::text("STATUS"),
            Column::long(concat!("openregister-webhooks ", env!("CARGO_PKG_VERSION"))),
        ]);
        table.row(["verdict".into(), Cell::toned(verdict, tone)]);
        table.row(["outbox".into(), self.outbox_line(settings).into()]);
        table.row(["queue".into(), self.queue_line().into()]);
        let webhooks = self.webhooks.map(|(state, count)| format!("{count} {state}"));
        table.row(["webhooks".into(), webhooks.join(", ").into()]);
        table.print();
        self.print_attention();
        for finding in self
            .report
            .findings
            .iter()
            .filter(|finding| finding.level >= Level::Warning)
        {
            output::say("");
            output::prose(
                format_args!("{}: {}", finding.level.name(), finding.what),
                HANGING,
            );
            for (name, text) in [("cause: ", &finding.cause), ("remedy:", &finding.remedy)] {
                if let Some(text) = text {
                    output::prose(format_args!("  {name} {text}"), HANGING);
                }
            }
        }
    }

    fn outbox_line(&self, settings: &Settings) -> String {
        let mebibytes = |bytes: u64| bytes.div_ceil(1024 * 1024);
        let limit = match settings.outbox.max_bytes {
            0 => String::new(),
            bytes => format!(" of {} MiB", mebibytes(bytes)),
        };
        let unread = self.outbox.oldest_unread.map_or_else(
            || "everything is read".to_owned(),
            |age| {
                let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
                format!("oldest unread change: {}", one_unit(age))
            },
        );
        let stopped = if self.outbox.stopped {
            ", CAPTURE HAS STOPPED"
        } else {
            ""
        };
        format!("{} MiB{limit}, {unread}{stopped}", mebibytes(self.outbox.bytes))
    }

    fn queue_line(&self) -> String {
        let waiting: i64 = self.depth.states.iter().map(|(_, count)| count).sum();
        let oldest = self.depth.webhooks.first().map_or_else(String::new, |one| {
            #[expect(clippy::cast_possible_truncation, reason = "whole seconds are enough")]
            let age = one_unit(TimeDelta::seconds(one.oldest_seconds as i64));
            format!(", the oldest since {age}")
        });
        let states: Vec<_> = self
            .depth
            .states
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        match states.as_slice() {
            [] => "empty".to_owned(),
            states => format!("{waiting} waiting ({}){oldest}", states.join(", ")),
        }
    }

    fn print_attention(&self) {
        if self.attention.is_empty() {
            return;
        }
        output::say("");
        let now = Utc::now();
        let mut table = Table::new([
            Column::number("WEBHOOK"),
            Column::number("WAITING"),
            Column::number("LAST OK"),
            Column::long("NEEDS ATTENTION"),
        ]);
        for (figures, why) in self.attention.iter().take(LISTED) {
            let last = figures
                .last_success
                .map_or_else(|| "-".to_owned(), |at| ago(at, now));
            table.row([
                figures.webhook.into(),
                figures.pending.into(),
                last.into(),
                Cell::toned(why, Tone::Bad),
            ]);
        }
        table.print();
        let more = self.attention.len().saturating_sub(LISTED);
        if more > 0 {
            output::say(format_args!("and {more} more: `webhook statistics` shows all"));
        }
    }
}
