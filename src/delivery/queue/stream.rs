//! The stored events as they come, for people and programs that watch.
//!
//! Guarantees: events come in the order in which they were stored, each once: whoever stores events holds the queue's lock, so day and
//! number rise with the commits. A read costs the same however many events are kept. No content of an object is in it.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, GenericClient, Row};

use super::delivery::EventRef;
use crate::lifecycle::Lane;

/// Most events in one read.
pub const MAX_READ: i64 = 1_000;

/// A stored event, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenEvent {
    #[serde(skip)]
    place: EventRef,
    /// The `webhook-id`.
    pub id: String,
    /// `ObjectCreatedEvent`, …
    pub class: String,
    /// `object:<uuid>`, or `<table>:<id>` for other kinds.
    pub lane: String,
    /// When the change was made.
    pub at: DateTime<Utc>,
    /// The webhooks that it is delivered to, or was.
    pub webhooks: Vec<i64>,
}

/// What a read gave.
#[derive(Debug, Clone)]
pub struct Read {
    /// The events that match, in their order.
    pub events: Vec<SeenEvent>,
    /// Where the next read goes on.
    pub place: EventRef,
    /// Whether more are stored already.
    pub more: bool,
}

/// Which events.
#[derive(Debug, Clone, Default)]
pub struct StreamFilter {
    /// `ObjectCreatedEvent`, …
    pub class: Option<String>,
    /// The uuid of an object.
    pub object: Option<String>,
    /// Only events that are delivered to this webhook.
    pub webhook: Option<i64>,
}

/// The place before the first event whose change was made at `since` or later; without `since`, the place of the newest event.
///
/// # Errors
/// If the query fails.
pub async fn place(client: &impl GenericClient, since: Option<DateTime<Utc>>) -> Result<EventRef, Error> {
    let sql = match since {
        // An event is never stored before its change was made.
        Some(_) => {
            "SELECT day, seq - 1 FROM openregister_webhooks.event \
             WHERE day >= ($1::timestamptz AT TIME ZONE 'UTC')::date AND at >= $1 ORDER BY day, seq LIMIT 1"
        }
        None => {
            "SELECT day, seq FROM openregister_webhooks.event WHERE $1::timestamptz IS NULL ORDER BY day DESC, seq DESC LIMIT 1"
        }
    };
    let rows = client.query_typed(sql, &[(&since, Type::TIMESTAMPTZ)]).await?;
    match rows.first() {
        Some(row) => Ok(EventRef {
            day: row.try_get(0)?,
            seq: row.try_get(1)?,
        }),
        None if since.is_some() => Box::pin(place(client, None)).await,
        None => Ok(EventRef {
            day: NaiveDate::default(),
            seq: 0,
        }),
    }
}

/// What was stored after this place, from at most [`MAX_READ`] events.
///
/// # Errors
/// If a query fails.
pub async fn after(
    client: &impl GenericClient,
    filter: &StreamFilter,
    place: EventRef,
) -> Result<Read, Error> {
    let sql = "SELECT day, seq, id, class, lane, at FROM openregister_webhooks.event \
        WHERE day >= $1 AND (day, seq) > ($1, $2) ORDER BY day, seq LIMIT $3";
    let rows = client
        .query_typed(
            sql,
            &[
                (&place.day, Type::DATE),
                (&place.seq, Type::INT8),
                (&MAX_READ, Type::INT8),
            ],
        )
        .await?;
    let mut seen = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let reached = seen.last().map_or(place, |event| event.place);
    let lane = filter.object.as_deref().map(Lane::object);
    seen.retain(|event| {
        filter.class.as_ref().is_none_or(|class| *class == event.class)
            && lane.as_ref().is_none_or(|lane| lane.as_str() == event.lane)
    });
    add_webhooks(client, &mut seen).await?;
    if let Some(webhook) = filter.webhook {
        seen.retain(|event| event.webhooks.contains(&webhook));
    }
    Ok(Read {
        events: seen,
        place: reached,
        more: i64::try_from(rows.len()).is_ok_and(|count| count == MAX_READ),
    })
}

fn read(row: &Row) -> Result<SeenEvent, Error> {
    Ok(SeenEvent {
        place: EventRef {
            day: row.try_get("day")?,
            seq: row.try_get("seq")?,
        },
        id: row.try_get("id")?,
        class: row.try_get("class")?,
        lane: row.try_get("lane")?,
        at: row.try_get("at")?,
        webhooks: Vec::new(),
    })
}

/// Adds the webhooks that have a delivery of these events.
async fn add_webhooks(client: &impl GenericClient, events: &mut [SeenEvent]) -> Result<(), Error> {
    if events.is_empty() {
        return Ok(());
    }
    // Both tables have an index for the lane.
    let sql = "SELECT e.seq, array_agg(DISTINCT of.webhook ORDER BY of.webhook) \
        FROM unnest($1::date[], $2::bigint[], $3::text[]) AS e (day, seq, lane) CROSS JOIN LATERAL ( \
            SELECT d.webhook FROM openregister_webhooks.webhook w JOIN openregister_webhooks.delivery d ON d.webhook = w.id \
            WHERE d.lane = e.lane AND d.event_seq = e.seq AND d.event_day = e.day \
            UNION ALL \
            SELECT l.webhook FROM openregister_webhooks.delivery_log l \
            WHERE l.lane = e.lane AND l.event_seq = e.seq AND l.event_day = e.day \
        ) of GROUP BY e.seq";
    let days: Vec<_> = events.iter().map(|event| event.place.day).collect();
    let seqs: Vec<_> = events.iter().map(|event| event.place.seq).collect();
    let lanes: Vec<_> = events.iter().map(|event| event.lane.as_str()).collect();
    let rows = client
        .query_typed(
            sql,
            &[
                (&days, Type::DATE_ARRAY),
                (&seqs, Type::INT8_ARRAY),
                (&lanes, Type::TEXT_ARRAY),
            ],
        )
        .await?;
    let mut found = HashMap::new();
    for row in &rows {
        found.insert(row.try_get::<_, i64>(0)?, row.try_get::<_, Vec<i64>>(1)?);
    }
    for event in events {
        event.webhooks = found.remove(&event.place.seq).unwrap_or_default();
    }
    Ok(())
}
