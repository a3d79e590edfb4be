//! Erasing what is stored of one object: in the outbox, the quarantine, the events, the queue and the log.
//!
//! Guarantees: works while everything runs; when it has ended, nothing that was captured of the object before it began is
//! sent any more, and nothing of it is stored but what a transaction that is still open has written to the outbox: the reader
//! drops that (what it cannot read, too: see `capture::quarantine`), and the outbox is emptied within a minute. What was in flight ends. The object's own row in Nextcloud is not touched, and what happens to it later is captured and sent as ever.
//! In the log the deliveries stay as figures, without object, answers and errors.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_postgres::types::{PgLsn, ToSql, Type};
use tokio_postgres::{Client, Error, Row, Transaction};

use crate::capture::uuid_in;
use crate::delivery::queue;
use crate::lifecycle::{Event, Lane, Outcome, locks};
use crate::registry::Caller;
use orw_model::{ObjectRow, Store, TableName, parse_row};

/// Rows that are changed in one transaction.
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
    /// Entries of the log that no longer name the object.
    pub logged: u64,
    /// Attempts whose answers and errors are gone.
    pub attempts: u64,
    /// 1 where it was remembered that the object is locked.
    pub locks: u64,
}

impl Erased {
    /// Whether there was nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why not everything was erased; what was stays so, and running it again goes on.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    #[error(
        "{0:?} is no uuid of an object: it may have 1 to 255 characters, none of them blank or a control character"
    )]
    NoUuid(String),
    #[error("the database says no: {0}; run it again: what was erased stays erased")]
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

/// From here on the reader drops what it finds of the object's past; the last event that is stored of it, and whether it was
/// known to be locked.
async fn remember(client: &mut Client, uuid: &str, lane: &Lane) -> Result<(i64, bool), Error> {
    let tx = client.transaction().await?;
    // What the reader is storing now is stored, and found below, before this is committed.
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

/// Removes the object's changes from the outbox. Its tables are emptied within a minute of their being read anyway, so the
/// few dead rows do not stay.
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

/// Removes the object's changes from the quarantine, and what mentions it where it cannot be seen whose change that is. Waits
/// for whoever is writing to it: who comes later sees that the object is erased.
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

/// Whether a change is one of the object, and not of another that only mentions it.
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

/// Every webhook that has something in the queue, one look at the index each.
const WEBHOOKS: &str = "WITH RECURSIVE w AS ( \
        (SELECT d.webhook FROM openregister_webhooks.delivery d ORDER BY d.webhook LIMIT 1) UNION ALL \
        SELECT (SELECT d.webhook FROM openregister_webhooks.delivery d WHERE d.webhook > w.webhook ORDER BY d.webhook LIMIT 1) \
        FROM w WHERE w.webhook IS NOT NULL) \
    SELECT w.webhook FROM w WHERE w.webhook IS NOT NULL";

/// A batch of the deliveries that wait for events up to `until`.
const CANCEL: &str = "WITH gone AS (DELETE FROM openregister_webhooks.delivery WHERE id IN ( \
        SELECT d.id FROM unnest($2::bigint[]) AS w (webhook) CROSS JOIN LATERAL ( \
            SELECT d.id FROM openregister_webhooks.delivery d \
            WHERE d.webhook = w.webhook AND d.lane = $1 AND d.event_seq <= $3 ORDER BY d.id + 0 LIMIT $4) d) RETURNING *), \
    logged AS (INSERT INTO openregister_webhooks.delivery_log \
        (day, id, webhook, event_day, event_seq, lane, state, reason, attempt, cause, created_at) \
        SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date, id, webhook, event_day, event_seq, lane, 'cancelled', reason, \
            attempt, 'the object was erased', created_at FROM gone) \
    SELECT count(*) FROM gone";

/// What comes after the erased deliveries is the head of its lane.
const PROMOTE: &str = "UPDATE openregister_webhooks.delivery d SET head = true \
    FROM unnest($2::bigint[]) AS w (webhook) CROSS JOIN LATERAL ( \
        SELECT f.id, f.head FROM openregister_webhooks.delivery f WHERE f.webhook = w.webhook AND f.lane = $1 ORDER BY f.id + 0 LIMIT 1) f \
    WHERE d.id = ANY (ARRAY[f.id]) AND NOT f.head";

/// A batch of what is stored beyond the outbox, of events up to `until`.
async fn stored(client: &mut Client, lane: &Lane, until: i64) -> Result<Erased, Error> {
    let tx = client.transaction().await?;
    tx.batch_execute("SET LOCAL enable_seqscan = off; SET LOCAL jit = off")
        .await?;
    queue::lock(&tx).await?;
    let lane = (&lane.as_str(), Type::TEXT);
    let numbers = |rows: Vec<Row>| {
        rows.iter()
            .map(|row| row.try_get(0))
            .collect::<Result<Vec<i64>, _>>()
    };
    let webhooks = numbers(tx.query_typed(WEBHOOKS, &[]).await?)?;
    let webhooks = (&webhooks as &(dyn ToSql + Sync), Type::INT8_ARRAY);
    let lane = (lane.0 as &(dyn ToSql + Sync), lane.1);
    let (bound, batch) = (
        (&until as &(dyn ToSql + Sync), Type::INT8),
        (&BATCH as &(dyn ToSql + Sync), Type::INT8),
    );
    let rows = tx
        .query_typed(
            CANCEL,
            &[lane.clone(), webhooks.clone(), bound.clone(), batch.clone()],
        )
        .await?;
    let deliveries = numbers(rows)?.first().copied().unwrap_or_default();
    tx.execute_typed(PROMOTE, &[lane.clone(), webhooks]).await?;
    let events = tx
        .execute_typed(
            "DELETE FROM openregister_webhooks.event WHERE lane = $1 AND seq <= coalesce((SELECT max(s.seq) FROM ( \
                SELECT e.seq FROM openregister_webhooks.event e WHERE e.lane = $1 AND e.seq <= $2 ORDER BY e.seq LIMIT $3) s), 0)",
            &[lane.clone(), bound.clone(), batch.clone()],
        )
        .await?;
    let rows = tx
        .query_typed(
            "SELECT id FROM openregister_webhooks.delivery_log WHERE lane = $1 AND event_seq <= $2 ORDER BY id LIMIT $3",
            &[lane.clone(), bound, batch],
        )
        .await?;
    let ids = numbers(rows)?;
    let attempts = tx
        .execute_typed(
            "UPDATE openregister_webhooks.attempt SET headers = NULL, response = NULL, error = NULL \
             WHERE delivery = ANY ($1) AND (headers IS NOT NULL OR response IS NOT NULL OR error IS NOT NULL)",
            &[(&ids, Type::INT8_ARRAY)],
        )
        .await?;
    let logged = tx
        .execute_typed(
            "UPDATE openregister_webhooks.delivery_log SET lane = 'erased' WHERE lane = $1 AND id = ANY ($2)",
            &[lane, (&ids, Type::INT8_ARRAY)],
        )
        .await?;
    tx.commit().await?;
    Ok(Erased {
        deliveries: u64::try_from(deliveries).unwrap_or_default(),
        events,
        logged,
        attempts,
        ..Erased::default()
    })
}

/// What was asked for by name, and the row of the audit table: with the object as a hash.
async fn finish(
    client: &mut Client,
    uuid: &str,
    lane: &Lane,
    erased: Erased,
    by: &Caller,
) -> Result<(), Error> {
    let tx = client.transaction().await?;
    tx.execute_typed(
        "UPDATE openregister_webhooks.job SET ask = replace(ask, $1, 'erased') WHERE position($1 IN ask) > 0",
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
    let detail = json!({"object": format!("sha256:{hex}"), "erased": erased}).to_string();
    tx.execute_typed(
        "INSERT INTO openregister_webhooks.audit (who, client, action, webhook_id, detail) VALUES ($1, $2, 'erase', 0, $3)",
        &[
            (&by.user, Type::TEXT),
            (&by.client, Type::TEXT),
            (&detail, Type::TEXT),
        ],
    )
    .await?;
    tx.commit().await
}

/// Drops the events of erased objects whose change was made before they were erased, and forgets the locks that they announce.
pub(super) async fn drop_erased(tx: &Transaction<'_>, outcome: &mut Outcome) -> Result<(), Error> {
    let Outcome {
        events,
        activities,
        locks,
        ..
    } = outcome;
    let any = "SELECT EXISTS (SELECT FROM openregister_webhooks.erased)";
    if !tx
        .query_typed(any, &[])
        .await?
        .first()
        .map_or(Ok(false), |row| row.try_get(0))?
    {
        return Ok(());
    }
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
