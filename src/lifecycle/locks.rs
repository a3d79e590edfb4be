//! The locks that were announced and whose end was not, one row for each object (`object_lock`): an Unlocked depends on them.
//!
//! Guarantees: the rows are written in the transaction that stores the events, so they survive restarts, and a batch that is
//! processed again finds what it found before. A row is removed when the end of its lock is announced, when the object is deleted or
//! erased, and when objects were not captured for a while, because what happened meanwhile is unknown.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, GenericClient};

use super::event::Lane;
use crate::database::Write;

/// How many rows are kept.
pub const MOST: i64 = 1_000_000;

/// What announced the lock of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockSource {
    /// The object's own row, which holds the lock and will also show when it ends.
    Row,
    /// Only the audit row with this id. No column shows when such a lock ends.
    AuditRow(i64),
}

/// A batch's change of the announced lock of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockChange {
    pub uuid: String,
    /// The time of the change that causes it.
    pub at: DateTime<Utc>,
    /// `None`: the lock has ended.
    pub held: Option<LockSource>,
}

impl LockChange {
    /// The lane of the object.
    #[must_use]
    pub fn lane(&self) -> Lane {
        Lane::object(&self.uuid)
    }
}

/// Looks up which of these objects have an announced lock.
pub(super) async fn look_up(
    tx: &impl GenericClient,
    uuids: &BTreeSet<String>,
) -> Result<HashMap<String, LockSource>, Error> {
    let uuids: Vec<&str> = uuids.iter().map(String::as_str).collect();
    let rows = tx
        .query_typed(
            "SELECT w.uuid, l.audit FROM unnest($1::text[]) AS w (uuid) CROSS JOIN LATERAL ( \
                SELECT l.audit FROM openregister_webhooks.object_lock l \
                WHERE l.uuid = w.uuid AND l.epoch = (SELECT c.epoch FROM openregister_webhooks.object_capture c) LIMIT 1) l",
            &[(&uuids, Type::TEXT_ARRAY)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let audit: Option<i64> = row.try_get(1)?;
            Ok((
                row.try_get(0)?,
                audit.map_or(LockSource::Row, LockSource::AuditRow),
            ))
        })
        .collect()
}

/// Stores a batch's changes of locks. To be called in the transaction that stores its events.
///
/// # Errors
/// If a statement fails.
pub async fn store(tx: &impl GenericClient, changes: &[LockChange]) -> Result<(), Error> {
    for write in writes(changes) {
        write.run(tx).await?;
    }
    Ok(())
}

/// The statements of [`store`].
#[must_use]
pub fn writes(changes: &[LockChange]) -> Vec<Write> {
    let mut ended: Vec<String> = Vec::new();
    let (mut held, mut audits): (Vec<String>, Vec<Option<i64>>) = (Vec::new(), Vec::new());
    for change in changes {
        match change.held {
            None => ended.push(change.uuid.clone()),
            Some(by) => {
                held.push(change.uuid.clone());
                audits.push(match by {
                    LockSource::Row => None,
                    LockSource::AuditRow(id) => Some(id),
                });
            }
        }
    }
    let mut writes = Vec::new();
    if !ended.is_empty() {
        let sql = "DELETE FROM openregister_webhooks.object_lock WHERE uuid = ANY ($1)";
        writes.push(Write::new(sql).with(ended, Type::TEXT_ARRAY));
    }
    if !held.is_empty() {
        writes.push(
            Write::new(
                "INSERT INTO openregister_webhooks.object_lock AS l (uuid, audit, epoch) \
                 SELECT w.uuid, w.audit, c.epoch FROM unnest($1::text[], $2::bigint[]) AS w (uuid, audit), \
                    openregister_webhooks.object_capture c \
                 ON CONFLICT (uuid) DO UPDATE SET audit = excluded.audit, epoch = excluded.epoch, set_at = excluded.set_at",
            )
            .with(held, Type::TEXT_ARRAY)
            .with(audits, Type::INT8_ARRAY),
        );
    }
    writes
}

/// Removes the lock of an erased object; whether there was one.
///
/// # Errors
/// If a statement fails.
pub(crate) async fn erase(tx: &impl GenericClient, uuid: &str) -> Result<bool, Error> {
    let sql = "DELETE FROM openregister_webhooks.object_lock WHERE uuid = $1";
    Ok(tx.execute_typed(sql, &[(&uuid, Type::TEXT)]).await? > 0)
}

/// Keeps the table small: removes rows from before the last start of capturing objects, and the oldest beyond `most` rows. Skips rows
/// that the leader is writing.
///
/// # Errors
/// If a statement fails.
pub async fn trim(client: &impl GenericClient, most: i64) -> Result<(), Error> {
    let stale = "DELETE FROM openregister_webhooks.object_lock WHERE uuid IN ( \
        SELECT l.uuid FROM openregister_webhooks.object_lock l, openregister_webhooks.object_capture c \
        WHERE l.epoch <> c.epoch FOR UPDATE OF l SKIP LOCKED)";
    client.execute_typed(stale, &[]).await?;
    let surplus = "DELETE FROM openregister_webhooks.object_lock WHERE uuid IN ( \
        SELECT l.uuid FROM openregister_webhooks.object_lock l WHERE l.set_at <= ( \
            SELECT o.set_at FROM openregister_webhooks.object_lock o ORDER BY o.set_at DESC OFFSET $1 LIMIT 1) \
        FOR UPDATE SKIP LOCKED)";
    let forgotten = client.execute_typed(surplus, &[(&most, Type::INT8)]).await?;
    if forgotten > 0 {
        tracing::warn!(
            forgotten,
            most,
            "more objects are locked than are remembered: the locks that were announced first are forgotten, and the end of such a lock gives no event"
        );
    }
    Ok(())
}
