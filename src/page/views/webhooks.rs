//! All webhooks: their state and why, how well they do, what waits.

use std::cmp::Reverse;
use std::collections::HashMap;

use askama::Template;
use hyper::{Response, StatusCode};
use serde_json::Map;

use crate::delivery::overview::{self, Overview as Day};
use crate::ocs::Refusal;
use crate::page::answer;
use crate::page::chrome::Chrome;
use crate::page::desk::{Desk, away};
use crate::page::form::Form;
use crate::page::records::{Statistics, Webhook, read};
use crate::page::visit::Visit;
use crate::page::when;
use crate::proxy::Body;

/// How many webhooks one page shows.
const PAGE: usize = 100;

#[derive(Template)]
#[template(path = "webhooks.html")]
struct View<'a> {
    p: &'a Chrome,
    query: &'a Form,
    rows: &'a [Row],
    /// How many match, and how many there are.
    found: usize,
    all: usize,
    next: Option<String>,
    previous: Option<String>,
}

/// The same, when somebody types into the search.
#[derive(Template)]
#[template(path = "webhooks_rows.html")]
struct Rows<'a> {
    p: &'a Chrome,
    rows: &'a [Row],
    found: usize,
    all: usize,
    next: Option<String>,
    previous: Option<String>,
}

/// A webhook and its figures.
pub(crate) struct Row {
    pub(crate) webhook: Webhook,
    pub(crate) figures: Statistics,
    /// The last day, and what waits.
    pub(crate) day: Day,
}

impl Row {
    /// Whether somebody should look at it.
    pub(crate) fn needs_attention(&self) -> bool {
        self.webhook.status.state == "disabled" || self.figures.failures_in_a_row > 0
    }

    /// The rate of success as people read it, such as `99.8 %`.
    pub(crate) fn rate(&self, p: &Chrome) -> Option<String> {
        self.day
            .success_rate()
            .map(|rate| when::percent(rate, p.language))
    }

    /// The same, to sort by.
    fn share(&self) -> f64 {
        self.day.success_rate().unwrap_or(2.0)
    }

    /// How good the rate is, for its colour.
    pub(crate) fn rate_class(&self) -> &'static str {
        match self.day.success_rate() {
            Some(0.99..) => "good",
            Some(0.9..) => "warn",
            Some(_) => "bad",
            None => "none",
        }
    }
}

/// Every webhook with its figures; what waits and the last day are not looked up yet.
///
/// # Errors
/// The API's refusal.
pub(crate) async fn rows(desk: &Desk, visit: &Visit) -> Result<Vec<Row>, Refusal> {
    let webhooks: Vec<Webhook> = read(desk.get(visit, "/webhooks", Map::new()).await?)?;
    let figures: Vec<Statistics> = read(desk.get(visit, "/statistics", Map::new()).await?)?;
    let mut figures: HashMap<i64, Statistics> = figures.into_iter().map(|one| (one.webhook, one)).collect();
    Ok(webhooks
        .into_iter()
        .map(|webhook| Row {
            figures: figures.remove(&webhook.id).unwrap_or_default(),
            day: Day::default(),
            webhook,
        })
        .collect())
}

/// Looks up what waits for these webhooks and what came of their last day.
///
/// # Errors
/// If the database cannot be asked.
pub(crate) async fn look_up_days(desk: &Desk, rows: Vec<&mut Row>) -> Result<(), Refusal> {
    if rows.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = rows.iter().map(|row| row.webhook.id).collect();
    let client = desk.database().await?;
    let days = overview::of(&**client, &ids)
        .await
        .map_err(|error| away(&error))?;
    drop(client);
    let mut days: HashMap<i64, Day> = days.into_iter().collect();
    for row in rows {
        row.day = days.remove(&row.webhook.id).unwrap_or_default();
    }
    Ok(())
}

pub(crate) async fn show(desk: &Desk, visit: &Visit) -> Result<Response<Body>, Refusal> {
    let mut rows = rows(desk, visit).await?;
    look_up_days(desk, rows.iter_mut().collect()).await?;
    let all = rows.len();
    let (query, p) = (&visit.query, &visit.chrome);
    rows.retain(|row| matches(row, query));
    sort(&mut rows, query.text("sort"));
    let found = rows.len();
    let from = query
        .get("from")
        .and_then(|text| text.parse::<usize>().ok())
        .unwrap_or(0)
        .min(found);
    let rows: Vec<Row> = rows.into_iter().skip(from).take(PAGE).collect();
    let at = |place: usize| query.with("from", &place.to_string());
    let next = (from + rows.len() < found).then(|| at(from + PAGE));
    let previous = (from > 0).then(|| at(from.saturating_sub(PAGE)));
    let rows = rows.as_slice();
    Ok(if visit.part {
        let view = Rows {
            p,
            rows,
            found,
            all,
            next,
            previous,
        };
        answer::html(StatusCode::OK, p, &view)
    } else {
        let view = View {
            p,
            query,
            rows,
            found,
            all,
            next,
            previous,
        };
        answer::html(StatusCode::OK, p, &view)
    })
}

fn matches(row: &Row, query: &Form) -> bool {
    let webhook = &row.webhook;
    let wanted = query.text("q").to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&wanted);
    let found = wanted.is_empty()
        || has(&webhook.uri)
        || has(&webhook.event)
        || has(&webhook.user_id)
        || webhook.id.to_string() == wanted;
    found
        && match query.text("state") {
            "" => true,
            "failing" => row.needs_attention(),
            state => webhook.status.state == state,
        }
}

/// Puts what was asked for first; what needs attention, unless something else was asked for.
fn sort(rows: &mut [Row], by: &str) {
    match by {
        "id" => rows.sort_by_key(|row| row.webhook.id),
        "waiting" => rows.sort_by_key(|row| Reverse(row.day.waiting.count)),
        "rate" => rows.sort_by(|a, b| a.share().total_cmp(&b.share())),
        "success" => rows.sort_by_key(|row| Reverse(row.figures.last_success)),
        "uri" => rows.sort_by(|a, b| a.webhook.uri.cmp(&b.webhook.uri)),
        _ => rows.sort_by_key(|row| {
            (
                !row.needs_attention(),
                Reverse(row.day.waiting.count),
                row.webhook.id,
            )
        }),
    }
}
