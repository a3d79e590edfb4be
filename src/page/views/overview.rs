//! Whether it is well, and what needs attention.

use std::sync::Arc;

use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};
use hyper::{Response, StatusCode};
use tokio_postgres::types::Type;

use super::webhooks::{self, Row};
use crate::capture::CaptureStatus;
use crate::capture::outbox::{self, Outbox};
use crate::delivery::figures;
use crate::delivery::overview::{self, Overview as Deliveries};
use crate::doctor::{Finding, Level, Report};
use crate::ocs::Refusal;
use crate::page::answer;
use crate::page::chart::{self, Chart};
use crate::page::chrome::Chrome;
use crate::page::desk::{Desk, away};
use crate::page::visit::Visit;
use crate::page::when;
use crate::proxy::Body;

/// How many webhooks, workers and gaps are listed.
const LISTED: usize = 8;

#[derive(Template)]
#[template(path = "overview.html")]
struct View<'a> {
    p: &'a Chrome,
    o: &'a Overview,
}

/// What renews itself.
#[derive(Template)]
#[template(path = "overview_now.html")]
struct Now<'a> {
    p: &'a Chrome,
    o: &'a Overview,
}

/// A process that delivers.
struct Worker {
    name: String,
    alive: bool,
    webhooks: i64,
    started_at: DateTime<Utc>,
    beat_at: DateTime<Utc>,
}

/// A stretch of time from which events may be missing.
struct Gap {
    table: String,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    reason: String,
    remedy: String,
}

struct Overview {
    report: Option<(Arc<Report>, DateTime<Utc>)>,
    deliveries: Deliveries,
    traffic: Chart,
    latency: Chart,
    /// The slowest of the last day, if anything arrived.
    times: Option<(String, String)>,
    outbox: Outbox,
    outbox_limit: u64,
    outbox_level: &'static str,
    /// Every webhook; the last day is known of those that are listed.
    rows: Vec<Row>,
    workers: Vec<Worker>,
    gaps: Vec<Gap>,
    capture: CaptureStatus,
}

impl Overview {
    fn verdict(&self) -> Level {
        self.report
            .as_ref()
            .map_or(Level::Ok, |(report, _)| report.worst())
    }

    /// The findings that somebody should do something about, worst first.
    fn findings(&self) -> Vec<&Finding> {
        let Some((report, _)) = &self.report else {
            return Vec::new();
        };
        let mut found: Vec<&Finding> = report
            .findings
            .iter()
            .filter(|finding| finding.level >= Level::Warning)
            .collect();
        found.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        found
    }

    fn notes(&self) -> usize {
        self.report
            .as_ref()
            .map_or(0, |(report, _)| report.findings.len())
    }

    /// How many wait; "more than" if no more were counted.
    fn waiting(&self, p: &Chrome) -> String {
        let waiting = &self.deliveries.waiting;
        let more = if waiting.more { "> " } else { "" };
        format!("{more}{}", when::number(waiting.count, p.language))
    }

    /// How long the oldest waits.
    fn oldest(&self, p: &Chrome) -> Option<String> {
        let oldest = self.deliveries.waiting.oldest?;
        Some(when::span(p.now - oldest, p.language))
    }

    fn rate(&self, p: &Chrome) -> Option<String> {
        self.deliveries
            .success_rate()
            .map(|rate| when::percent(rate, p.language))
    }

    fn unread(&self, p: &Chrome) -> Option<String> {
        let age = TimeDelta::from_std(self.outbox.oldest_unread?).unwrap_or(TimeDelta::MAX);
        Some(when::span(age, p.language))
    }

    fn outbox_size(&self) -> String {
        when::bytes(self.outbox.bytes)
    }

    fn limit_size(&self) -> Option<String> {
        (self.outbox_limit > 0).then(|| when::bytes(self.outbox_limit))
    }

    /// The rows of webhooks that need attention.
    fn attention(&self) -> Vec<&Row> {
        let needing = self.rows.iter().filter(|row| row.needs_attention());
        needing.take(LISTED).collect()
    }

    fn more_attention(&self) -> usize {
        let all = self.rows.iter().filter(|row| row.needs_attention()).count();
        all.saturating_sub(LISTED)
    }

    fn count(&self, state: &str) -> usize {
        self.rows
            .iter()
            .filter(|row| row.webhook.status.state == state)
            .count()
    }

    fn alive(&self) -> usize {
        self.workers.iter().filter(|worker| worker.alive).count()
    }

    /// What capture does in this process, and whether that is well.
    fn capture(&self, p: &Chrome) -> (&'static str, String) {
        match &self.capture {
            CaptureStatus::Leading => ("good", p.t("This process leads", "Dit proces leidt").to_owned()),
            CaptureStatus::Standby => (
                "good",
                p.t("Another process leads", "Een ander proces leidt").to_owned(),
            ),
            CaptureStatus::Away(reason) => (
                "bad",
                format!(
                    "{}: {reason}",
                    p.t("Capture is away", "Het vastleggen staat stil")
                ),
            ),
            CaptureStatus::Held { .. } => (
                "bad",
                p.t(
                    "Held: the database was restored from another cluster",
                    "Vastgehouden: de database komt uit een ander cluster",
                )
                .to_owned(),
            ),
        }
    }
}

pub(crate) async fn show(desk: &Desk, visit: &Visit) -> Result<Response<Body>, Refusal> {
    let overview = overview(desk, visit).await?;
    let (p, o) = (&visit.chrome, &overview);
    Ok(if visit.part {
        answer::html(StatusCode::OK, p, &Now { p, o })
    } else {
        answer::html(StatusCode::OK, p, &View { p, o })
    })
}

async fn overview(desk: &Desk, visit: &Visit) -> Result<Overview, Refusal> {
    let mut rows = webhooks::rows(desk, visit).await?;
    let listed = rows.iter_mut().filter(|row| row.needs_attention()).take(LISTED);
    webhooks::look_up_days(desk, listed.collect()).await?;
    let client = desk.database().await?;
    let p = &visit.chrome;
    let deliveries = overview::overall(&**client).await.map_err(|error| away(&error))?;
    let (points, whole) = figures::series_and_whole(&**client, None, p.now, chart::MINUTES, chart::STEP)
        .await
        .map_err(|error| away(&error))?;
    let times = whole.map(|times| {
        let text = |value| chart::time(value, p.language);
        (text(times.median), text(times.p99))
    });
    let outbox = outbox::measure(&client).await.map_err(|error| away(&error))?;
    let workers = workers(&client).await.map_err(|error| away(&error))?;
    let gaps = gaps(&client).await.map_err(|error| away(&error))?;
    drop(client);
    let level = match outbox.level(&desk.limits) {
        outbox::Level::Fine => "good",
        outbox::Level::Warning => "warn",
        outbox::Level::Critical => "bad",
    };
    let capture = desk.status.borrow().clone();
    Ok(Overview {
        report: desk.examiner.report().await,
        deliveries,
        traffic: chart::traffic(&points, p),
        latency: chart::latency(&points, p),
        times,
        outbox,
        outbox_limit: desk.limits.max_bytes,
        outbox_level: level,
        rows,
        workers,
        gaps,
        capture,
    })
}

async fn workers(client: &tokio_postgres::Client) -> Result<Vec<Worker>, tokio_postgres::Error> {
    let sql = "SELECT name, alive, webhooks, started_at, beat_at FROM openregister_webhooks.show_workers \
        ORDER BY alive DESC, started_at DESC LIMIT 20";
    let rows = client.query_typed(sql, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(Worker {
                name: row.try_get::<_, Option<String>>(0)?.unwrap_or_default(),
                alive: row.try_get::<_, Option<bool>>(1)?.unwrap_or(false),
                webhooks: row.try_get(2)?,
                started_at: row.try_get(3)?,
                beat_at: row.try_get(4)?,
            })
        })
        .collect()
}

async fn gaps(client: &tokio_postgres::Client) -> Result<Vec<Gap>, tokio_postgres::Error> {
    let limit = i64::try_from(LISTED).unwrap_or(8);
    let sql = "SELECT table_name, since, until, reason, remedy FROM openregister_webhooks.show_gaps ORDER BY id DESC LIMIT $1";
    let rows = client.query_typed(sql, &[(&limit, Type::INT8)]).await?;
    rows.iter()
        .map(|row| {
            Ok(Gap {
                table: row.try_get::<_, Option<String>>(0)?.unwrap_or_default(),
                since: row.try_get(1)?,
                until: row.try_get(2)?,
                reason: row.try_get::<_, Option<String>>(3)?.unwrap_or_default(),
                remedy: row.try_get::<_, Option<String>>(4)?.unwrap_or_default(),
            })
        })
        .collect()
}
