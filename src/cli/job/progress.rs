//! Jobs as the command line prints them: one line each, followed until they end.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use tokio_postgres::Client;

use crate::cli::failure::Failure;
use crate::cli::output;
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
    while !job.state.is_over() {
        let text = progress(&job);
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
pub(super) fn refused(error: StartError) -> Failure {
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

/// A job in one line.
pub(super) fn line(job: &Job) -> String {
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
    };
    let of = match job.expected {
        Some(expected) if expected > 0 && !job.state.is_over() => format!(" of about {expected}"),
        _ => String::new(),
    };
    let waiting = job
        .waiting
        .as_ref()
        .map_or_else(String::new, |reason| format!(", waits: {reason}"));
    format!(
        "{}{of} {what} read, {} put into the queue{waiting}",
        job.seen, job.enqueued
    )
}

/// What was asked for.
fn asked(job: &Job) -> String {
    let said = |name: &str| {
        let value = job.request.get(name)?.as_str()?;
        Some(format!("{name} {value}"))
    };
    let all: Vec<String> = ["since", "class", "object", "register", "schema", "table"]
        .into_iter()
        .filter_map(said)
        .collect();
    all.join(", ")
}
