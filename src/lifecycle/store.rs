//! Events as rows of `openregister_webhooks.event`: how they are stored, changed and read.
//!
//! The statements of the queue join this table, and `pipeline::jobs` pages through it; they read rows by [`read`].

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Map, Value};
use tokio_postgres::types::Type;
use tokio_postgres::{GenericClient, Row};

use super::event::{Actor, ActorState, Event, EventId, Lane, States};
use super::gap::{GAP_EVENT, GapNotice, StoredEvent};
use super::outcome::ActorFound;
use orw_model::{Action, ActorSource, Entity, EventClass};

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

/// Sets the actors of the stored events of `found` that still wait for them. Returns these events' keys.
pub(crate) async fn set_actors(
    tx: &impl GenericClient,
    found: &[ActorFound],
) -> Result<Vec<(NaiveDate, i64)>, tokio_postgres::Error> {
    let lanes: Vec<&str> = found.iter().map(|f| f.lane.as_str()).collect();
    let pids: Vec<i32> = found.iter().map(|f| f.pid).collect();
    let since: Vec<_> = found.iter().map(|f| f.since).collect();
    let until: Vec<_> = found.iter().map(|f| f.at).collect();
    let actors: Vec<Option<String>> = found
        .iter()
        .map(|f| f.actor.as_ref().map(actor_to_text))
        .collect();
    // An event waits for some seconds at most, so it is of today or, around midnight, of yesterday.
    let rows = tx
        .query_typed(
            "UPDATE openregister_webhooks.event e SET actor = f.actor, awaiting = false \
             FROM unnest($1::text[], $2::int4[], $3::timestamptz[], $4::timestamptz[], $5::text[]) \
                  AS f (lane, pid, since, until, actor) \
             WHERE e.lane = f.lane AND e.pid = f.pid AND e.at BETWEEN f.since AND f.until AND e.awaiting \
               AND e.day >= (clock_timestamp() AT TIME ZONE 'UTC')::date - 1 \
             RETURNING e.day, e.seq",
            &[
                (&lanes, Type::TEXT_ARRAY),
                (&pids, Type::INT4_ARRAY),
                (&since, Type::TIMESTAMPTZ_ARRAY),
                (&until, Type::TIMESTAMPTZ_ARRAY),
                (&actors, Type::TEXT_ARRAY),
            ],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Sets the actors of these events, which wait no longer. An event without an actor keeps what it has.
pub(crate) async fn update_actors(
    tx: &impl GenericClient,
    events: &[(NaiveDate, i64)],
    actors: &[Option<Actor>],
) -> Result<(), tokio_postgres::Error> {
    let (days, seqs): (Vec<NaiveDate>, Vec<i64>) = events.iter().copied().unzip();
    let actors: Vec<Option<String>> = actors
        .iter()
        .map(|actor| actor.as_ref().map(actor_to_text))
        .collect();
    let sql = "UPDATE openregister_webhooks.event e SET actor = coalesce(f.actor, e.actor), awaiting = false \
               FROM unnest($1::date[], $2::int8[], $3::text[]) AS f (day, seq, actor) \
               WHERE e.day = f.day AND e.seq = f.seq";
    tx.query_typed(
        sql,
        &[
            (&days, Type::DATE_ARRAY),
            (&seqs, Type::INT8_ARRAY),
            (&actors, Type::TEXT_ARRAY),
        ],
    )
    .await?;
    Ok(())
}

/// The actions of the last events of a lane that a backend caused in a span of time, the newest first; ten at most.
pub(super) async fn recent_actions(
    tx: &impl GenericClient,
    lane: &Lane,
    pid: i32,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<Action>, tokio_postgres::Error> {
    let rows = tx
        .query_typed(
            "SELECT class FROM openregister_webhooks.event
              WHERE lane = $1 AND pid = $2 AND at BETWEEN $3 AND $4 ORDER BY seq DESC LIMIT 10",
            &[
                (&lane.as_str(), Type::TEXT),
                (&pid, Type::INT4),
                (&since, Type::TIMESTAMPTZ),
                (&until, Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    // A class that this version does not know is none of the lock events that are looked for.
    Ok(rows
        .iter()
        .filter_map(|row| EventClass::from_short(row.get(0)))
        .map(EventClass::action)
        .collect())
}

/// The key of the newest stored event; `None` if there is none.
pub(crate) async fn newest(
    tx: &impl GenericClient,
) -> Result<Option<(NaiveDate, i64)>, tokio_postgres::Error> {
    let sql = "SELECT day, seq FROM openregister_webhooks.event WHERE seq IS NOT NULL ORDER BY day DESC, seq DESC LIMIT 1";
    let rows = tx.query_typed(sql, &[]).await?;
    rows.first()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .transpose()
}

/// When the change of the oldest stored event was made; `None` if there is none.
pub(crate) async fn oldest(tx: &impl GenericClient) -> Result<Option<DateTime<Utc>>, tokio_postgres::Error> {
    let sql = "SELECT at FROM openregister_webhooks.event ORDER BY day, seq LIMIT 1";
    let rows = tx.query_typed(sql, &[]).await?;
    rows.first().map(|row| row.try_get(0)).transpose()
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

/// An actor as the column `actor` stores it.
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
    // Earlier versions did not store the source.
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
