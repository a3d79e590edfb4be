//! Events as rows of `openregister_webhooks.event`: how they are stored, changed and read.
//!
//! The statements of the queue join this table, and `pipeline::jobs` pages through it; they read rows by [`read`]. Who caused an event
//! is in `actors`; what is asked about stored events in `questions`.

mod actors;
mod moved;
mod questions;

use chrono::{DateTime, NaiveDate, Utc};
use tokio_postgres::types::Type;
use tokio_postgres::{GenericClient, Row};

use super::event::{ActorState, Event, EventId, Lane, States};
use super::gap::{GAP_EVENT, GapNotice, StoredEvent};
use crate::database::Write;
use orw_model::{Action, Entity, EventClass};

use actors::actor_from_text;
pub use actors::actor_to_text;
pub(crate) use actors::{NAME_ACTORS, name_transitions, update_actors, with_actors};
use moved::{current_text, split};
pub(super) use questions::{earlier_states, recent_actions};
pub(crate) use questions::{newest, oldest};

/// The columns that [`read`] and [`from_row`] need.
pub const COLUMNS: &str = "id, class, lane, at, pid, new, old, actor, awaiting";

/// A row of the event table that this version cannot read.
#[derive(Debug, thiserror::Error)]
#[error("the stored event {id} cannot be read: {reason}")]
pub struct StoredEventError {
    id: String,
    reason: String,
}

/// Stores `events` under `day` and returns the key of each, in the same order: ascending `seq`.
///
/// # Errors
/// If the statement fails.
pub async fn insert(
    tx: &impl GenericClient,
    day: NaiveDate,
    events: &[Event],
) -> Result<Vec<(NaiveDate, i64)>, tokio_postgres::Error> {
    insert_for(tx, day, events, None).await
}

/// What stores these events under `day`, each with its `seq`, which must come from `NEXT_SEQS` under the lock of whoever stores events.
#[must_use]
pub fn insert_at<'e>(day: NaiveDate, events: impl Iterator<Item = (i64, &'e Event)> + Clone) -> Write {
    let (mut seqs, mut columns) = (Vec::new(), EventColumns::default());
    for (seq, event) in events {
        seqs.push(seq);
        columns.push(event);
    }
    Write::new(
        "INSERT INTO openregister_webhooks.event (day, seq, id, class, lane, at, pid, new, old, actor, awaiting)
         OVERRIDING SYSTEM VALUE
         SELECT $1, seq, id, class, lane, at, pid, new, old, actor, awaiting
           FROM unnest($2::int8[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::int4[], $8::text[], $9::text[],
                       $10::text[], $11::bool[])
                AS e (seq, id, class, lane, at, pid, new, old, actor, awaiting)",
    )
    .with(day, Type::DATE)
    .with(seqs, Type::INT8_ARRAY)
    .with(columns.ids, Type::TEXT_ARRAY)
    .with(columns.classes, Type::TEXT_ARRAY)
    .with(columns.lanes, Type::TEXT_ARRAY)
    .with(columns.at, Type::TIMESTAMPTZ_ARRAY)
    .with(columns.pids, Type::INT4_ARRAY)
    .with(columns.new, Type::TEXT_ARRAY)
    .with(columns.old, Type::TEXT_ARRAY)
    .with(columns.actors, Type::TEXT_ARRAY)
    .with(columns.awaiting, Type::BOOL_ARRAY)
}

/// The columns of events that are stored.
#[derive(Default)]
struct EventColumns {
    ids: Vec<String>,
    classes: Vec<String>,
    lanes: Vec<String>,
    at: Vec<DateTime<Utc>>,
    pids: Vec<i32>,
    new: Vec<String>,
    old: Vec<Option<String>>,
    actors: Vec<Option<String>>,
    awaiting: Vec<bool>,
}

impl EventColumns {
    fn push(&mut self, event: &Event) {
        self.ids.push(event.id.as_str().to_owned());
        self.classes.push(event.class.to_string());
        self.lanes.push(event.lane.as_str().to_owned());
        self.at.push(event.at);
        self.pids.push(event.pid);
        self.new.push(current_text(&event.states));
        self.old.push(event.states.old().map(Entity::to_text));
        self.actors.push(event.actor.actor().map(actor_to_text));
        self.awaiting
            .push(matches!(event.actor, ActorState::Awaited { .. }));
    }
}

/// SQL for the next `$1` values of `seq`, in their order.
pub(crate) const NEXT_SEQS: &str =
    "ARRAY(SELECT nextval('openregister_webhooks.event_seq_seq') FROM generate_series(1, $1))";

/// The same for events that are made for one webhook: a replay for another webhook does not find them.
///
/// # Errors
/// If the statement fails.
pub async fn insert_for(
    tx: &impl GenericClient,
    day: NaiveDate,
    events: &[Event],
    made_for: Option<i64>,
) -> Result<Vec<(NaiveDate, i64)>, tokio_postgres::Error> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let mut columns = EventColumns::default();
    events.iter().for_each(|event| columns.push(event));
    let rows = tx
        .query_typed(
            "INSERT INTO openregister_webhooks.event (day, id, class, lane, at, pid, new, old, actor, awaiting, made_for)
             SELECT $1, id, class, lane, at, pid, new, old, actor, awaiting, $11
               FROM unnest($2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::int4[], $7::text[], $8::text[],
                           $9::text[], $10::bool[])
                    WITH ORDINALITY AS e (id, class, lane, at, pid, new, old, actor, awaiting, place)
              ORDER BY place
             RETURNING seq",
            &[
                (&day, Type::DATE),
                (&columns.ids, Type::TEXT_ARRAY),
                (&columns.classes, Type::TEXT_ARRAY),
                (&columns.lanes, Type::TEXT_ARRAY),
                (&columns.at, Type::TIMESTAMPTZ_ARRAY),
                (&columns.pids, Type::INT4_ARRAY),
                (&columns.new, Type::TEXT_ARRAY),
                (&columns.old, Type::TEXT_ARRAY),
                (&columns.actors, Type::TEXT_ARRAY),
                (&columns.awaiting, Type::BOOL_ARRAY),
                (&made_for, Type::INT8),
            ],
        )
        .await?;
    let mut keys: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    // The identity ascends in the order of the rows. RETURNING keeps that order today; sorting does not rely on it.
    keys.sort_unstable();
    Ok(keys.into_iter().map(|seq| (day, seq)).collect())
}

/// Stores notices under `day` and returns the key of each, in the same order: ascending `seq`.
///
/// # Errors
/// If the statement fails.
pub async fn insert_notices(
    tx: &impl GenericClient,
    day: NaiveDate,
    notices: &[GapNotice],
) -> Result<Vec<(NaiveDate, i64)>, tokio_postgres::Error> {
    let mut keys = Vec::with_capacity(notices.len());
    for notice in notices {
        let rows = tx
            .query_typed(
                "INSERT INTO openregister_webhooks.event (day, id, class, lane, at, pid, new, awaiting) \
                 VALUES ($1, $2, $3, $4, $5, 0, $6, false) RETURNING seq",
                &[
                    (&day, Type::DATE),
                    (&notice.id.as_str(), Type::TEXT),
                    (&GAP_EVENT, Type::TEXT),
                    (&notice.lane.as_str(), Type::TEXT),
                    (&notice.at, Type::TIMESTAMPTZ),
                    (&notice.fields_text(), Type::TEXT),
                ],
            )
            .await?;
        for row in &rows {
            keys.push((day, row.try_get(0)?));
        }
    }
    Ok(keys)
}

/// Reads a row that has at least [`COLUMNS`].
///
/// # Errors
/// If a column is missing, or this version does not understand the row.
pub fn read(row: &Row) -> Result<StoredEvent, StoredEventError> {
    let column = |error: tokio_postgres::Error| StoredEventError {
        id: row.try_get("id").unwrap_or_default(),
        reason: error.to_string(),
    };
    if row.try_get::<_, &str>("class").map_err(column)? != GAP_EVENT {
        return from_row(row).map(StoredEvent::from);
    }
    let id: String = row.try_get("id").map_err(column)?;
    let fail = |reason: String| StoredEventError {
        id: id.clone(),
        reason,
    };
    let fields =
        Entity::from_text(row.try_get("new").map_err(column)?).map_err(|error| fail(error.to_string()))?;
    GapNotice::from_stored(
        EventId::from_stored(id.clone()),
        Lane::from_stored(row.try_get("lane").map_err(column)?),
        row.try_get("at").map_err(column)?,
        fields,
    )
    .map(StoredEvent::Gap)
    .ok_or_else(|| fail("it does not say whose events are missing".into()))
}

/// The same for a row that must be a lifecycle event.
///
/// # Errors
/// As [`read`]; also if it is not a lifecycle event.
pub fn from_row(row: &Row) -> Result<Event, StoredEventError> {
    let column = |error: tokio_postgres::Error| StoredEventError {
        id: "(without an id)".to_owned(),
        reason: error.to_string(),
    };
    let id: String = row.try_get("id").map_err(column)?;
    let fail = |reason: String| StoredEventError {
        id: id.clone(),
        reason,
    };
    let column = |error: tokio_postgres::Error| fail(error.to_string());
    let entity = |text: &str| Entity::from_text(text).map_err(|error| fail(error.to_string()));
    let class: &str = row.try_get("class").map_err(column)?;
    let class = EventClass::from_short(class).ok_or_else(|| fail(format!("the class {class} is unknown")))?;
    let new = entity(row.try_get("new").map_err(column)?)?;
    let old: Option<&str> = row.try_get("old").map_err(column)?;
    let states = match (class.action(), old) {
        (Action::Updated, Some(old)) => States::Both {
            new,
            old: entity(old)?,
        },
        (Action::Updated, None) => return Err(fail("the old state is missing".into())),
        (Action::Transitioned, _) => {
            let (new, transition) = split(new).ok_or_else(|| fail("what moved is missing".into()))?;
            States::Moved { new, transition }
        }
        _ => States::One(new),
    };
    let actor: Option<&str> = row.try_get("actor").map_err(column)?;
    let actor = actor
        .map(|text| actor_from_text(text, class).ok_or_else(|| fail("the actor is not readable".into())))
        .transpose()?;
    Ok(Event {
        class,
        lane: Lane::from_stored(row.try_get("lane").map_err(column)?),
        at: row.try_get("at").map_err(column)?,
        states,
        actor: if row.try_get("awaiting").map_err(column)? {
            ActorState::Awaited { fallback: actor }
        } else {
            ActorState::Known(actor)
        },
        pid: row.try_get("pid").map_err(column)?,
        id: EventId::from_stored(id),
    })
}
