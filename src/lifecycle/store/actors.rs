//! Who caused a stored event.

use chrono::NaiveDate;
use serde_json::{Map, Value};
use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use super::moved::{joined, split};
use crate::database::Write;
use crate::lifecycle::event::Actor;
use crate::lifecycle::outcome::ActorFound;
use orw_model::{Action, ActorSource, Entity, EventClass};

/// SQL that sets the actors of the stored events that some [`ActorFound`] name and that still wait for them: a part of a `WITH`, `named`,
/// with the `seq` of these events. To be run after [`name_transitions`].
///
/// OFFSET keeps the search a look-up in the index of lanes: whatever the statistics say, no day is searched as a whole. An event waits for
/// some seconds at most, so it is of today or, around midnight, of yesterday.
pub(crate) const NAME_ACTORS: &str = "named AS (
    UPDATE openregister_webhooks.event e SET actor = f.actor, awaiting = false
    FROM unnest($1::text[], $2::int4[], $3::timestamptz[], $4::timestamptz[], $5::text[]) AS f (lane, pid, since, until, actor)
    CROSS JOIN LATERAL (SELECT c.day, c.seq FROM openregister_webhooks.event c
        WHERE c.lane = f.lane AND c.pid = f.pid AND c.at BETWEEN f.since AND f.until AND c.awaiting
          AND c.day >= (clock_timestamp() AT TIME ZONE 'UTC')::date - 1 OFFSET 0) t
    WHERE e.day = t.day AND e.seq = t.seq AND e.awaiting
    RETURNING e.seq)";

/// Adds the parameters of [`NAME_ACTORS`] to a statement.
pub(crate) fn with_actors(write: Write, found: &[ActorFound]) -> Write {
    let lanes: Vec<String> = found.iter().map(|f| f.lane.as_str().to_owned()).collect();
    let pids: Vec<i32> = found.iter().map(|f| f.pid).collect();
    let since: Vec<_> = found.iter().map(|f| f.since).collect();
    let until: Vec<_> = found.iter().map(|f| f.at).collect();
    let actors: Vec<Option<String>> = found
        .iter()
        .map(|f| f.actor.as_ref().map(actor_to_text))
        .collect();
    write
        .with(lanes, Type::TEXT_ARRAY)
        .with(pids, Type::INT4_ARRAY)
        .with(since, Type::TIMESTAMPTZ_ARRAY)
        .with(until, Type::TIMESTAMPTZ_ARRAY)
        .with(actors, Type::TEXT_ARRAY)
}

/// Sets the actions of the stored transitions of these requests, as long as they wait for their audit rows.
pub(crate) async fn name_transitions(
    tx: &impl GenericClient,
    found: &[ActorFound],
) -> Result<(), tokio_postgres::Error> {
    for named in found.iter().filter(|found| found.transition.is_some()) {
        name_transition(tx, named).await?;
    }
    Ok(())
}

/// Sets the action of the stored transitions of one request, as long as they wait for its audit row. One that cannot be read stays as it is.
async fn name_transition(tx: &impl GenericClient, found: &ActorFound) -> Result<(), tokio_postgres::Error> {
    let class = EventClass::object(Action::Transitioned).to_string();
    let sql = "SELECT e.day, e.seq, e.new FROM openregister_webhooks.event e \
               WHERE e.lane = $1 AND e.pid = $2 AND e.at BETWEEN $3 AND $4 AND e.awaiting AND e.class = $5 \
                 AND e.day >= (clock_timestamp() AT TIME ZONE 'UTC')::date - 1";
    let rows = tx
        .query_typed(
            sql,
            &[
                (&found.lane.as_str(), Type::TEXT),
                (&found.pid, Type::INT4),
                (&found.since, Type::TIMESTAMPTZ),
                (&found.at, Type::TIMESTAMPTZ),
                (&class, Type::TEXT),
            ],
        )
        .await?;
    for row in &rows {
        let (day, seq): (NaiveDate, i64) = (row.try_get(0)?, row.try_get(1)?);
        let Some((object, mut transition)) = Entity::from_text(row.try_get(2)?).ok().and_then(split) else {
            continue;
        };
        transition.action.clone_from(&found.transition);
        tx.execute_typed(
            "UPDATE openregister_webhooks.event SET new = $3 WHERE day = $1 AND seq = $2",
            &[
                (&day, Type::DATE),
                (&seq, Type::INT8),
                (&joined(object, &transition), Type::TEXT),
            ],
        )
        .await?;
    }
    Ok(())
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

pub(super) fn actor_from_text(text: &str, class: EventClass) -> Option<Actor> {
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
