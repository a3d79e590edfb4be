//! What a registration would do, before it is saved: its filter against the last stored events, and the body as it would be sent.
//!
//! Guarantees: nothing is sent, stored or counted. A preview reads the keys of at most `LOOKED_AT` events and [`TRIED`] events, of
//! `BYTES` in all, and evaluates for at most `TIME` and one evaluation more, outside of the threads that serve others. A filter
//! means here what it means for live events, with the user as far as the stored event knows it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, GenericClient};

use super::document::Documented;
use crate::delivery::EventRef;
use crate::delivery::format::{self, RenderError, Rendered};
use crate::lifecycle::{Event, StoredEvent, store};
use crate::registry::{BodyOptions, DataMode, EventSource, Format, Webhook};
use orw_filter::{Budget, Document, Filter};
use orw_model::EventClass;

/// Events that a filter is tried on.
pub const TRIED: i64 = 200;
/// The newest events, among which those of the classes are looked for.
const LOOKED_AT: i64 = 20_000;
/// Bytes of events that are read; one event more than that is read, too.
const BYTES: i64 = 32 << 20;
/// Events that are in memory at once.
const AT_ONCE: usize = 20;
/// How long filters are evaluated.
const TIME: Duration = Duration::from_secs(1);
/// What people look at is rendered for one of them at a time: a template may take a second of CPU time.
static RENDERING: Semaphore = Semaphore::const_new(1);
/// How long that may take, waiting included.
const RENDERING_TIME: Duration = Duration::from_secs(10);

/// How a filter did on the last events.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tried {
    /// Events that it was evaluated on.
    pub looked_at: usize,
    pub matched: usize,
    /// Events on which it could not be evaluated: no match.
    pub failed: usize,
    /// When the oldest of the events was made.
    pub oldest: Option<DateTime<Utc>>,
    /// Each of them, newest first.
    pub events: Vec<TriedEvent>,
}

/// One event that a filter was tried on.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TriedEvent {
    /// The `webhook-id`.
    pub id: String,
    /// `ObjectCreatedEvent`, …
    pub class: String,
    pub lane: String,
    /// When the change was made.
    pub at: DateTime<Utc>,
    pub matched: bool,
    /// Why the filter could not be evaluated.
    pub error: Option<String>,
}

/// A body as it would be sent.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Body {
    pub format: &'static str,
    /// Empty if there is no body.
    pub content_type: &'static str,
    /// As text; empty if there is none.
    pub body: String,
    /// Why there is no body: this event cannot be written in this format with these options.
    pub error: Option<String>,
}

/// Tries a filter, and a user that the events must be of, on the last stored events of these classes: "would have matched 14 of 200".
///
/// # Errors
/// If a query fails.
pub async fn filter<C: GenericClient + Sync>(
    client: &C,
    filter: Arc<Filter>,
    user_id: Option<String>,
    classes: &[EventClass],
) -> Result<Tried, Error> {
    let mut tried = Tried::default();
    let mut left = TIME;
    for places in last(client, classes, TRIED).await?.chunks(AT_ONCE) {
        let events = read(client, places).await?;
        let (filter, user_id) = (Arc::clone(&filter), user_id.clone());
        let begun = Instant::now();
        let evaluated = tokio::task::spawn_blocking(move || {
            let mut results = Vec::with_capacity(events.len());
            for event in &events {
                if begun.elapsed() >= left {
                    return (results, true);
                }
                results.push(try_one(event, &filter, user_id.as_deref()));
            }
            (results, false)
        });
        // A panic in it is a bug of the evaluation, and this preview ends with what is known.
        let Ok((results, late)) = evaluated.await else {
            tracing::error!("a filter could not be tried; this is a bug");
            return Ok(tried);
        };
        left = left.saturating_sub(begun.elapsed());
        for event in results {
            tried.looked_at += 1;
            tried.matched += usize::from(event.matched);
            tried.failed += usize::from(event.error.is_some());
            tried.oldest = Some(tried.oldest.map_or(event.at, |oldest| oldest.min(event.at)));
            tried.events.push(event);
        }
        if late {
            break;
        }
    }
    Ok(tried)
}

fn try_one(event: &Event, filter: &Filter, user_id: Option<&str>) -> TriedEvent {
    let needs = filter.needs();
    let states = Documented::of(event, needs);
    let evaluated = Document::of_event(&states.subject(event), needs)
        .map_err(|error| error.to_string())
        .and_then(|document| {
            filter
                .matches_within(&document, &mut Budget::default())
                .map_err(|error| error.to_string())
        });
    // Without a filter there is nothing that could fail.
    let evaluated = if needs.is_empty() { Ok(true) } else { evaluated };
    let by_user = user_id.is_none_or(|uid| event.actor.actor().is_some_and(|actor| actor.uid == uid));
    TriedEvent {
        id: event.id.as_str().to_owned(),
        class: event.class.to_string(),
        lane: event.lane.as_str().to_owned(),
        at: event.at,
        matched: by_user && evaluated == Ok(true),
        error: evaluated.err(),
    }
}

/// The newest stored event of these classes; `None` if there is none among the last ones.
///
/// # Errors
/// If a query fails.
pub async fn last_event<C: GenericClient + Sync>(
    client: &C,
    classes: &[EventClass],
) -> Result<Option<StoredEvent>, Error> {
    let places = last(client, classes, 1).await?;
    let event = read(client, &places).await?.pop();
    Ok(event.map(|event| StoredEvent::Event(Box::new(event))))
}

/// A stored event; `None` if it is not kept any more, or cannot be read.
///
/// # Errors
/// If the query fails.
pub async fn event_at<C: GenericClient + Sync>(
    client: &C,
    place: EventRef,
) -> Result<Option<StoredEvent>, Error> {
    let event = read(client, &[place]).await?.pop();
    Ok(event.map(|event| StoredEvent::Event(Box::new(event))))
}

/// The body that a webhook of each format would get, with these options, made outside of the threads that serve others. None if that took
/// longer than `RENDERING_TIME`.
pub async fn bodies(
    event: StoredEvent,
    mode: DataMode,
    options: BodyOptions,
    source: EventSource,
) -> Vec<Body> {
    apart(move || write_bodies(&event, mode, &options, &source))
        .await
        .unwrap_or_default()
}

/// What a webhook gets of an event, as its settings are now. A template is filled in outside of the threads that serve others; `None` if that took
/// longer than `RENDERING_TIME`.
///
/// # Errors
/// If the event cannot be written in the webhook's format.
pub(crate) async fn rendered(
    event: Arc<StoredEvent>,
    webhook: Arc<Webhook>,
    sequence: i64,
) -> Result<Option<Rendered>, RenderError> {
    if webhook.format != Format::Template {
        return format::render(&event, &webhook, sequence).map(Some);
    }
    apart(move || format::render(&event, &webhook, sequence))
        .await
        .transpose()
}

/// Renders when it is its turn, on a thread of its own. `None` if that took longer than `RENDERING_TIME`.
async fn apart<T: Send + 'static>(render: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let rendered = async {
        let turn = RENDERING.acquire().await.ok()?;
        let work = tokio::task::spawn_blocking(move || {
            // It keeps its turn even if nobody waits for it any more.
            let _turn = turn;
            render()
        });
        work.await
            .inspect_err(|error| tracing::error!(%error, "a body could not be shown; this is a bug"))
            .ok()
    };
    tokio::time::timeout(RENDERING_TIME, rendered)
        .await
        .ok()
        .flatten()
}

fn write_bodies(
    event: &StoredEvent,
    mode: DataMode,
    options: &BodyOptions,
    source: &EventSource,
) -> Vec<Body> {
    Format::NAMES
        .iter()
        .filter_map(|name| {
            let written = format::sample(event, (Format::parse(name)?, mode), options, source);
            let (content_type, body, error) = match written {
                Ok(rendered) => (
                    rendered.content_type,
                    String::from_utf8_lossy(&rendered.body).into_owned(),
                    None,
                ),
                Err(error) => ("", String::new(), Some(error.to_string())),
            };
            Some(Body {
                format: name,
                content_type,
                body,
                error,
            })
        })
        .collect()
}

/// Where the last events of these classes are, newest first.
async fn last<C: GenericClient + Sync>(
    client: &C,
    classes: &[EventClass],
    most: i64,
) -> Result<Vec<EventRef>, Error> {
    let sql = "SELECT e.day, e.seq, e.bytes FROM ( \
            SELECT e.day, e.seq, e.class, octet_length(e.new)::int8 + coalesce(octet_length(e.old), 0) AS bytes \
            FROM openregister_webhooks.event e ORDER BY e.day DESC, e.seq DESC LIMIT $1) e \
        WHERE e.class = ANY ($2) ORDER BY e.day DESC, e.seq DESC LIMIT $3";
    let names: Vec<String> = classes.iter().map(ToString::to_string).collect();
    let rows = client
        .query_typed(
            sql,
            &[
                (&LOOKED_AT, Type::INT8),
                (&names, Type::TEXT_ARRAY),
                (&most, Type::INT8),
            ],
        )
        .await?;
    let (mut places, mut bytes) = (Vec::new(), 0_i64);
    for row in &rows {
        if bytes >= BYTES {
            break;
        }
        bytes += row.try_get::<_, i64>(2)?;
        places.push(EventRef {
            day: row.try_get(0)?,
            seq: row.try_get(1)?,
        });
    }
    Ok(places)
}

/// Reads events, in this order. What cannot be read, or was erased meanwhile, is left out.
async fn read<C: GenericClient + Sync>(client: &C, places: &[EventRef]) -> Result<Vec<Event>, Error> {
    let sql = format!(
        "SELECT {} FROM unnest($1::date[], $2::bigint[]) WITH ORDINALITY AS w (w_day, w_seq, w_place) CROSS JOIN LATERAL \
         (SELECT * FROM openregister_webhooks.event e WHERE e.day = w_day AND e.seq = w_seq LIMIT 1) e ORDER BY w_place",
        store::COLUMNS
    );
    let days: Vec<_> = places.iter().map(|place| place.day).collect();
    let seqs: Vec<_> = places.iter().map(|place| place.seq).collect();
    let rows = client
        .query_typed(&sql, &[(&days, Type::DATE_ARRAY), (&seqs, Type::INT8_ARRAY)])
        .await?;
    Ok(rows
        .iter()
        .filter_map(|row| match store::read(row) {
            Ok(StoredEvent::Event(event)) => Some(*event),
            Ok(StoredEvent::Gap(_)) | Err(_) => None,
        })
        .collect())
}
