//! Erasing what is stored of one object: in the outbox, the quarantine, the events, the queue and the log.
//!
//! Guarantees: it works while everything runs. When it has ended, nothing is sent any more that was captured of the object before it
//! began. Nothing of that is stored either, except what a transaction that is still open has written to the outbox: the reader drops
//! that (also what it cannot read: see `capture::quarantine`), and the outbox is emptied within a minute. Requests in flight end. The
//! object's own row in Nextcloud is not touched, and what happens to it later is captured and sent as before. In the log the deliveries
//! stay as figures, without object, answers and errors.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_postgres::types::{PgLsn, Type};
use tokio_postgres::{Client, Error, Row};

use crate::capture::uuid_in;
use crate::delivery::queue;
use crate::lifecycle::{Event, Lane, Outcome, locks};
use crate::registry::{Caller, audit};
use orw_model::{ObjectRow, Store, TableName, parse_row};

/// Most rows of one kind that are changed in one transaction.
const BATCH: i64 = 1000;
/// How long an erased object is remembered: no transaction stays open, and no backup is restored, for longer.
const REMEMBERED_DAYS: i32 = 30;

/// What was erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// Changes in the outbox.
    pub changes: u64,
    /// Changes in the quarantine.
    pub quarantined: u64,
    /// Stored events.
    pub events: u64,
    /// Deliveries that were waiting; they are cancelled.
    pub deliveries: u64,
    /// Entries of the log from which the object's name was removed.
    pub logged: u64,
    /// Attempts from which answers and errors were removed.
    pub attempts: u64,
    /// 1 if it was remembered that the object is locked.
    pub locks: u64,
}

impl Erased {
    /// Whether there was nothing to erase.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why not everything was erased. What was erased stays erased; running it again goes on.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    #[error(
        "{0:?} is no uuid of an object: it may have 1 to 255 characters, none of them blank or a control character"
    )]
    NoUuid(String),
    #[error("a query failed: {0}; run it again: what was erased stays erased")]
    Query(#[from] Error),
}

/// Erases what is stored of the object with this uuid.
///
/// # Errors
/// See [`EraseError`].
pub async fn erase(
    client: &mut Client,
    table_prefix: &str,
    uuid: &str,
    by: &Caller,
) -> Result<Erased, EraseError> {
    let odd = |c: char| c.is_whitespace() || c.is_control();
    if uuid.is_empty() || uuid.len() > 255 || uuid.contains(odd) {
        return Err(EraseError::NoUuid(uuid.to_owned()));
    }
    let lane = Lane::object(uuid);
    let (until, lock) = remember(client, uuid, &lane).await?;
    let mut erased = Erased {
        locks: u64::from(lock),
        changes: changes(client, table_prefix, uuid).await?,
        ..Erased::default()
    };
    loop {
        let step = stored(client, &lane, until).await?;
        erased.events += step.events;
        erased.deliveries += step.deliveries;
        erased.logged += step.logged;
        erased.attempts += step.attempts;
        if step.is_empty() {
            break;
        }
    }
    erased.quarantined = quarantined(client, uuid).await?;
    finish(client, uuid, &lane, erased, by).await?;
    Ok(erased)
}

/// Remembers that the object is erased: from here on the reader drops its older changes. Returns the `seq` of the last stored event, and
/// whether the object was known to be locked.
async fn remember(client: &mut Client, uuid: &str, lane: &Lane) -> Result<(i64, bool), Error> {
    let tx = client.transaction().await?;
    // The reader takes this lock before it stores events: what it is storing now is stored, and found below.
    queue::lock(&tx).await?;
    tx.execute_typed(
        "DELETE FROM openregister_webhooks.erased WHERE at < clock_timestamp() - make_interval(days => $1)",
        &[(&REMEMBERED_DAYS, Type::INT4)],
    )
    .await?;
    tx.execute_typed(
        "INSERT INTO openregister_webhooks.erased AS e (object, at) VALUES ($1, clock_timestamp()) \
         ON CONFLICT (object) DO UPDATE SET at = greatest(e.at, excluded.at)",
        &[(&hash(lane), Type::BYTEA)],
    )
    .await?;
    let lock = locks::erase(&tx, uuid).await?;
    let newest = "SELECT seq FROM openregister_webhooks.event ORDER BY day DESC, seq DESC LIMIT 1";
    let rows = tx.query_typed(newest, &[]).await?;
    let until = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    tx.commit().await?;
    Ok((until, lock))
}

fn hash(lane: &Lane) -> Vec<u8> {
    Sha256::digest(lane.as_str().as_bytes()).to_vec()
}

/// Removes the object's changes from the outbox. Its tables are emptied within a minute after they are read, so the few dead rows do not
/// stay.
async fn changes(client: &mut Client, prefix: &str, uuid: &str) -> Result<u64, Error> {
    let mut count = 0;
    for table in ["change_0", "change_1", "change_2", "change_adopted"] {
        let sql = format!(
            "SELECT ctid::text AS place, lsn, xid::text, ordinal, tbl, old, new FROM openregister_webhooks.{table} \
             WHERE position($1 IN coalesce(old, '') || coalesce(new, '')) > 0"
        );
        let rows = client.query_typed(&sql, &[(&uuid, Type::TEXT)]).await?;
        for row in &rows {
            if !is_of(row, prefix, uuid)? {
                continue;
            }
            let (lsn, xid): (PgLsn, &str) = (row.try_get("lsn")?, row.try_get("xid")?);
            let (ordinal, tbl): (i32, &str) = (row.try_get("ordinal")?, row.try_get("tbl")?);
            let sql = format!(
                "DELETE FROM openregister_webhooks.{table} WHERE lsn = $1 AND xid = $2::text::xid8 AND ordinal = $3 AND tbl = $4 \
                 AND position($5 IN coalesce(old, '') || coalesce(new, '')) > 0"
            );
            count += client
                .execute_typed(
                    &sql,
                    &[
                        (&lsn, Type::PG_LSN),
                        (&xid, Type::TEXT),
                        (&ordinal, Type::INT4),
                        (&tbl, Type::TEXT),
                        (&uuid, Type::TEXT),
                    ],
                )
                .await?;
        }
    }
    Ok(count)
}

/// Removes the object's changes from the quarantine, and those that mention it if it cannot be seen whose change they are. Waits for
/// whoever is writing to the quarantine: whoever comes later sees that the object is erased.
async fn quarantined(client: &mut Client, uuid: &str) -> Result<u64, Error> {
    let tx = client.transaction().await?;
    tx.batch_execute("LOCK TABLE openregister_webhooks.quarantine IN SHARE ROW EXCLUSIVE MODE")
        .await?;
    let (old, new) = (uuid_in("tbl", "old"), uuid_in("tbl", "new"));
    let sql = format!(
        "DELETE FROM openregister_webhooks.quarantine WHERE position($1 IN coalesce(old, '') || coalesce(new, '')) > 0 \
         AND ($1 IN ({old}, {new}) OR coalesce({old}, {new}) IS NULL)"
    );
    let count = tx.execute_typed(&sql, &[(&uuid, Type::TEXT)]).await?;
    tx.commit().await?;
    Ok(count)
}

/// Whether a change is one of the object, and not of another object that only mentions it.
fn is_of(row: &Row, prefix: &str, uuid: &str) -> Result<bool, Error> {
    let Some(table) = TableName::parse(row.try_get("tbl")?, prefix) else {
        return Ok(false);
    };
    for side in ["new", "old"] {
        let image: Option<&str> = row.try_get(side)?;
        let Some(image) = image.and_then(|text| parse_row(text).ok()) else {
            continue;
        };
        let found = match table.store() {
            Store::Magic { .. } | Store::Blob => ObjectRow::new(&table, &image).uuid() == Some(uuid),
            Store::Audit => image.get("object_uuid").and_then(Value::as_str) == Some(uuid),
            Store::Plain(_) => false,
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A batch of what is stored beyond the outbox, of events up to `until`.
async fn stored(client: &mut Client, lane: &Lane, until: i64) -> Result<Erased, Error> {
    let tx = client.transaction().await?;
    tx.batch_execute("SET LOCAL enable_seqscan = off; SET LOCAL jit = off")
        .await?;
    queue::lock(&tx).await?;
    let deliveries = queue::cancel_object(&tx, lane, until, BATCH).await?;
    let events = tx
        .execute_typed(
            "DELETE FROM openregister_webhooks.event WHERE lane = $1 AND seq <= coalesce((SELECT max(s.seq) FROM ( \
                SELECT e.seq FROM openregister_webhooks.event e WHERE e.lane = $1 AND e.seq <= $2 ORDER BY e.seq LIMIT $3) s), 0)",
            &[
                (&lane.as_str(), Type::TEXT),
                (&until, Type::INT8),
                (&BATCH, Type::INT8),
            ],
        )
        .await?;
    let (logged, attempts) = queue::blank_log(&tx, lane, until, BATCH).await?;
    tx.commit().await?;
    Ok(Erased {
        deliveries,
        events,
        logged,
        attempts,
        ..Erased::default()
    })
}

/// Removes the object from jobs and audit rows that name it, and writes the audit row, which has a hash of the object.
async fn finish(
    client: &mut Client,
    uuid: &str,
    lane: &Lane,
    erased: Erased,
    by: &Caller,
) -> Result<(), Error> {
    let tx = client.transaction().await?;
    tx.execute_typed(
        "UPDATE openregister_webhooks.job SET ask = replace(ask, ':' || to_json($1)::text, ':\"erased\"') \
         WHERE position(':' || to_json($1)::text IN ask) > 0",
        &[(&uuid, Type::TEXT)],
    )
    .await?;
    // The audit row of a replay says what was asked for.
    tx.execute_typed(
        "SELECT openregister_webhooks.erase_from_audit($1)",
        &[(&uuid, Type::TEXT)],
    )
    .await?;
    let hex = HEXLOWER.encode(&hash(lane));
    let detail = json!({"object": format!("sha256:{hex}"), "erased": erased});
    audit::insert(&tx, by, "erase", None, &detail).await?;
    tx.commit().await
}

/// SQL for whether any object was erased lately: if not, [`drop_erased`] has nothing to do.
pub(super) const ANY_ERASED: &str = "EXISTS (SELECT FROM openregister_webhooks.erased)";

/// Drops events of erased objects whose change was made before they were erased, and forgets the locks that these announce.
pub(super) async fn drop_erased(tx: &Client, outcome: &mut Outcome) -> Result<(), Error> {
    let Outcome {
        events,
        activities,
        locks,
        ..
    } = outcome;
    let lanes: BTreeSet<&str> = events.iter().map(|event| event.lane.as_str()).collect();
    let hashes: HashMap<Vec<u8>, &str> = lanes
        .into_iter()
        .map(|lane| (hash(&Lane::from_stored(lane.to_owned())), lane))
        .collect();
    let wanted: Vec<&[u8]> = hashes.keys().map(Vec::as_slice).collect();
    let rows = tx
        .query_typed(
            "SELECT object, at FROM openregister_webhooks.erased WHERE object = ANY ($1)",
            &[(&wanted, Type::BYTEA_ARRAY)],
        )
        .await?;
    let mut until: HashMap<String, DateTime<Utc>> = HashMap::new();
    for row in &rows {
        let object: Vec<u8> = row.try_get(0)?;
        if let Some(lane) = hashes.get(&object) {
            until.insert((*lane).to_owned(), row.try_get(1)?);
        }
    }
    if until.is_empty() {
        return Ok(());
    }
    let is_kept = |event: &Event| until.get(event.lane.as_str()).is_none_or(|at| event.at > *at);
    let mut places = Vec::with_capacity(events.len());
    let mut kept = 0;
    for event in events.iter() {
        places.push(is_kept(event).then_some(kept));
        kept += usize::from(is_kept(event));
    }
    events.retain(is_kept);
    for lock in locks {
        if until.get(lock.lane().as_str()).is_some_and(|at| lock.at <= *at) {
            lock.held = None;
        }
    }
    activities.retain_mut(|activity| match places.get(activity.event) {
        Some(Some(place)) => {
            activity.event = *place;
            true
        }
        _ => false,
    });
    Ok(())
}
