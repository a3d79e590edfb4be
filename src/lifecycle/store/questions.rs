//! What is asked about stored events.

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;

use chrono::{DateTime, NaiveDate, Utc};
use futures::TryStreamExt as _;
use tokio_postgres::GenericClient;
use tokio_postgres::types::{ToSql, Type};

use crate::lifecycle::earlier::EarlierStates;
use crate::lifecycle::event::Lane;
use orw_model::{Action, Entity, EventClass};

/// How many of an object's last events are looked at to find a state that it had before.
const EARLIER: i64 = 20;

/// The actions of the last events of a lane that a backend caused in a span of time, the newest first; ten at most.
pub(in crate::lifecycle) async fn recent_actions(
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

/// The states that these objects had by their last stored events, without those that a backfill or a test made. A state that cannot
/// be read is left out. The rows are read one by one, so that no more than one is in memory.
pub(in crate::lifecycle) async fn earlier_states(
    tx: &impl GenericClient,
    uuids: &BTreeSet<String>,
) -> Result<HashMap<String, EarlierStates>, tokio_postgres::Error> {
    let (uuids, lanes): (Vec<&str>, Vec<String>) = uuids
        .iter()
        .map(|uuid| (uuid.as_str(), Lane::object(uuid).as_str().to_owned()))
        .unzip();
    let sql = "SELECT w.uuid, e.at, e.new, e.old FROM unnest($1::text[], $2::text[]) AS w (uuid, lane) CROSS JOIN LATERAL ( \
            SELECT e.at, e.new, e.old FROM openregister_webhooks.event e \
            WHERE e.lane = w.lane AND e.made_for IS NULL ORDER BY e.seq DESC LIMIT $3) e";
    let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
        (&uuids, Type::TEXT_ARRAY),
        (&lanes, Type::TEXT_ARRAY),
        (&EARLIER, Type::INT8),
    ];
    let mut rows = pin!(tx.query_typed_raw(sql, parameters).await?);
    let mut found: HashMap<String, EarlierStates> = HashMap::new();
    while let Some(row) = rows.try_next().await? {
        let states = found.entry(row.try_get(0)?).or_default();
        let images: [Option<&str>; 2] = [row.try_get(2)?, row.try_get(3)?];
        for image in images.into_iter().flatten() {
            if let Ok(entity) = Entity::from_text(image) {
                states.add(row.try_get(1)?, &entity);
            }
        }
    }
    Ok(found)
}
