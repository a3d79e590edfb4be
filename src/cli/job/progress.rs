//! Jobs as the command line prints them: one line each, followed until they end.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::json;
use tokio_postgres::Client;

use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::table::{Cell, Column, Table, Tone, one_unit};
use crate::cli::times::Times;
use crate::pipeline::jobs::{self, Job, JobKind, JobState, StartError};

/// How often a job that is followed is read.
const INTERVAL: Duration = Duration::from_millis(500);
/// After so many readings without progress, a note says so.
const READINGS_WITHOUT_PROGRESS: u32 = 20;

pub(super) async fn find(client: &Client, id: i64) -> Result<Job, Failure> {
    jobs::get(client, id).await?.ok_or_else(|| unknown(id))
}

pub(super) fn unknown(id: i64) -> Failure {
    Failure::Failed(format!("job {id} does not exist; `job list` shows those that do"))
}

/// Shows a job's progress until it has ended; the exit code is 0 if everything was done, 1 if the job was cancelled.
pub(super) async fn follow(client: &Client, mut job: Job, json: bool) -> Result<ExitCode, Failure> {
    let mut shown = String::new();
    let mut unchanged = 0;
    let (began, counted) = (Instant::now(), job.counted());
    while !job.state.is_over() {
        let text = format!(
            "{}{}",
            progress(&job),
            pace(&job, job.counted() - counted, began.elapsed())
        );
        if text == shown {
            unchanged += 1;
        } else {
            output::note(&text);
            shown = text;
            unchanged = 0;
        }
        if unchanged == READINGS_WITHOUT_PROGRESS && job.waiting.is_none() {
            output::note(
                "no progress: is a sidecar running? (The job continues by itself; Ctrl-C only ends this view)",
            );
        }
        tokio::time::sleep(INTERVAL).await;
        job = find(client, job.id).await?;
    }
    show_job(&job, json);
    Ok(if job.state == JobState::Done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Says that jobs were started, and follows them to their ends, unless they stay in the background.
pub(in crate::cli) async fn watch_all(
    client: &Client,
    jobs: Vec<Job>,
    background: bool,
    json: bool,
) -> Result<ExitCode, Failure> {
    jobs.iter().for_each(started);
    if background {
        if let [job] = jobs.as_slice() {
            show_job(job, json);
        } else if json {
            output::json(&json!(jobs));
        } else {
            jobs.iter().for_each(|job| show_job(job, false));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut code = ExitCode::SUCCESS;
    for job in jobs {
        let ended = follow(client, job, json).await?;
        if ended != ExitCode::SUCCESS {
            code = ended;
        }
    }
    Ok(code)
}

/// Says that a job was started.
pub(super) fn started(job: &Job) {
    output::note(format_args!(
        "job {} was started; running sidecars do it. See `job show {0}` and `job cancel {0}`",
        job.id
    ));
    if let Some(note) = &job.note {
        output::note(note);
    }
}

/// Why a job was not started.
pub(in crate::cli) fn refused(error: StartError) -> Failure {
    match error {
        StartError::Refused(text) => Failure::Usage(text),
        StartError::Query(error) => Failure::Query(error),
        other => Failure::Failed(other.to_string()),
    }
}

pub(super) fn show_job(job: &Job, json: bool) {
    if json {
        return output::json(&json!(job));
    }
    output::say(line(job));
    // The line says what the job waits for.
    if let Some(note) = &job.note {
        output::say(format_args!("  {note}"));
    }
}

/// Jobs, one in each row.
pub(super) fn table(jobs: &[Job], times: Times) -> Table<7> {
    let mut table = Table::new([
        Column::number("ID"),
        Column::number(times.header()),
        Column::text("JOB"),
        Column::text("STATE"),
        Column::number("WEBHOOK"),
        Column::long("ASKED FOR"),
        Column::long("PROGRESS"),
    ]);
    for job in jobs {
        let tone = match job.state {
            JobState::Done => Tone::Good,
            state if state.is_over() => Tone::Faint,
            _ => Tone::Plain,
        };
        table.row([
            job.id.into(),
            times.shown(job.created_at).into(),
            job.kind.name().into(),
            Cell::toned(job.state.name(), tone),
            job.webhook.into(),
            asked(job).into(),
            progress(job).into(),
        ]);
    }
    table
}

/// A job in one line.
fn line(job: &Job) -> String {
    let asked = asked(job);
    let gap = if asked.is_empty() { "" } else { "  " };
    format!(
        "{}  {}  {:<8}  {:<10}  webhook {}  {}{gap}{asked}",
        job.id,
        job.created_at.format("%F %T"),
        job.kind.name(),
        job.state.name(),
        job.webhook,
        progress(job),
    )
}

/// A job's progress, in words.
fn progress(job: &Job) -> String {
    let what = match job.kind {
        JobKind::Replay => "events",
        JobKind::Backfill => "rows",
        JobKind::Retry => "deliveries",
    };
    let of = match job.expected {
        Some(expected) if expected >= job.counted().max(1) && !job.state.is_over() => {
            format!(" of about {expected}")
        }
        _ => String::new(),
    };
    let (of_read, of_enqueued) = match job.kind {
        JobKind::Retry => ("", of.as_str()),
        JobKind::Replay | JobKind::Backfill => (of.as_str(), ""),
    };
    let waiting = job
        .waiting
        .as_ref()
        .map_or_else(String::new, |reason| format!(", waits: {reason}"));
    format!(
        "{}{of_read} {what} read, {}{of_enqueued} put into the queue{waiting}",
        job.seen, job.enqueued
    )
}

/// How fast it goes, and about how long it still takes: `, 2300 a second, about 6m left`. Nothing as long as there is no progress.
fn pace(job: &Job, done: i64, time: Duration) -> String {
    if done <= 0 || time < Duration::from_secs(1) {
        return String::new();
    }
    #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
    let rate = done as f64 / time.as_secs_f64();
    let left = job
        .expected
        .map(|expected| expected - job.counted())
        .filter(|left| *left > 0);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "an estimate for people"
    )]
    let left = left.map_or_else(String::new, |left| {
        let seconds = TimeDelta::try_seconds((left as f64 / rate) as i64).unwrap_or(TimeDelta::MAX);
        format!(", about {} left", one_unit(seconds))
    });
    format!(", {rate:.0} a second{left}")
}

/// What was asked for.
fn asked(job: &Job) -> String {
    let said = |name: &str| {
        let value = job.request.get(name)?.as_str()?;
        Some(format!("{name} {value}"))
    };
    let names = [
        "since",
        "until",
        "state",
        "class",
        "object",
        "webhookId",
        "status",
        "cause",
        "register",
        "schema",
        "table",
    ];
    let all: Vec<String> = names.into_iter().filter_map(said).collect();
    all.join(", ")
}
