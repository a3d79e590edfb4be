//! Events as rows of `openregister_webhooks.event`.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Map, Value};
use tokio_postgres::types::Type;
use tokio_postgres::{GenericClient, Row};

use super::event::{Actor, ActorState, Event, EventId, Lane, States};
use super::gap::{GAP_EVENT, GapNotice, StoredEvent};
use orw_model::{Action, ActorSource, Entity, EventClass};

/// The columns that [`from_row`] reads, by name.
pub const COLUMNS: &str = "id, class, lane, at, pid, new, old, actor, awaiting";

/// A row of the event table that this version cannot read.
#[derive(Debug, thiserror::Error)]
#[error("the stored event {id} cannot be read: {reason}")]
pub struct StoredEventError {
    id: String,
    reason: String,
}

/// Stores `events` under `day` and answers the key of each, in the same order: ascending `seq`.
///
/// # Errors
/// Where the database refuses.
pub async fn insert(
    tx: &impl GenericClient,
    day: NaiveDate,
    events: &[Event],
) -> Result<Vec<(NaiveDate, i64)>, tokio_postgres::Error> {
    insert_for(tx, day, events, None).await
}

/// The same for events that were made for one webhook: no replay for another finds them.
///
/// # Errors
/// Where the database refuses.
pub async fn insert_for(
    tx: &impl GenericClient,
    day: NaiveDate,
    events: &[Event],
    made_for: Option<i64>,
) -> Result<Vec<(NaiveDate, i64)>, tokio_postgres::Error> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&str> = events.iter().map(|e| e.id.as_str()).collect();
    let classes: Vec<String> = events.iter().map(|e| e.class.to_string()).collect();
    let lanes: Vec<&str> = events.iter().map(|e| e.lane.as_str()).collect();
    let at: Vec<DateTime<Utc>> = events.iter().map(|e| e.at).collect();
    let pids: Vec<i32> = events.iter().map(|e| e.pid).collect();
    let new: Vec<String> = events.iter().map(|e| e.states.current().to_text()).collect();
    let old: Vec<Option<String>> = events
        .iter()
        .map(|e| e.states.old().map(Entity::to_text))
        .collect();
    let actors: Vec<Option<String>> = events
        .iter()
        .map(|e| e.actor.actor().map(actor_to_text))
        .collect();
    let awaiting: Vec<bool> = events
        .iter()
        .map(|e| matches!(e.actor, ActorState::Awaited { .. }))
        .collect();
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
                (&ids, Type::TEXT_ARRAY),
                (&classes, Type::TEXT_ARRAY),
                (&lanes, Type::TEXT_ARRAY),
                (&at, Type::TIMESTAMPTZ_ARRAY),
                (&pids, Type::INT4_ARRAY),
                (&new, Type::TEXT_ARRAY),
                (&old, Type::TEXT_ARRAY),
                (&actors, Type::TEXT_ARRAY),
                (&awaiting, Type::BOOL_ARRAY),
                (&made_for, Type::INT8),
            ],
        )
        .await?;
    let mut keys: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    // The identity counts up in the order of the rows; RETURNING follows it, and sorting makes that no assumption.
    keys.sort_unstable();
    Ok(keys.into_iter().map(|seq| (day, seq)).collect())
}

/// Reads a row that has [`COLUMNS`], and others perhaps.
///
/// # Errors
/// Where a column is missing, or a newer or broken version wrote the row.
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

/// The same for a row that is known to be a lifecycle event's.
///
/// # Errors
/// As [`read`]; also where it is none.
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

/// An actor as the column `actor` keeps it.
#[must_use]
pub fn actor_to_text(actor: &Actor) -> String {
    let mut map = Map::new();
    map.insert("uid".into(), actor.uid.clone().into());
    map.insert("displayName".into(), actor.display_name.clone().into());
    map.insert("groups".into(), actor.groups.clone().into());
    map.insert("source".into(), actor.source.name().into());
    Value::Object(map).to_string()
}

fn actor_from_text(text: &str, class: EventClass) -> Option<Actor> {
    let value = orw_model::json::parse(text).ok()?;
    // Earlier versions did not store it.
    let source = value.get("source").and_then(Value::as_str);
    let source = source.map_or(Some(class.actor_source()), ActorSource::from_name)?;
    Some(Actor {
        uid: value.get("uid")?.as_str()?.to_owned(),
        display_name: value
            .get("displayName")
            .and_then(Value::as_str)
            .map(str::to_owned),
        groups: value
            .get("groups")?
            .as_array()?
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        source,
    })
}
