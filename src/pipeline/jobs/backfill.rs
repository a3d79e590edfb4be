//! A step of a backfill: the next rows of a table, as Created events at the end of their lanes.
//!
//! Guarantees: rows are read after the lock that orders the queue was taken, in a separate statement, so what is enqueued is at least as
//! new as everything that was enqueued for the same object before; rows come in the order of their numeric id, each once. Nextcloud's
//! tables are read by their primary key, one short statement in a step, on the connection for look-ups: its lock on a table lasts no
//! longer than that, and neither the statement nor the queue waits long for another session's lock.

use std::time::Instant;

use chrono::Utc;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, GenericClient, Transaction};

use super::job::{Job, JobState};
use super::progress::{RowPlace, StoredBackfill, to_json};
use super::step::{StepContext, StepError};
use crate::delivery::{EventRef, NewDelivery, Reason, enqueue, queue};
use crate::lifecycle::{self, Event, EventId, HostConnection, HostError, store};
use crate::pipeline::matching::{self, Match};
use crate::registry::{Ordering, Webhook};
use orw_model::{Row, Store, TableName, parse_row};

/// Bytes of rows in a step; a row that is larger is a step of its own.
const BYTES: i64 = 8 << 20;
/// A row with more bytes as JSON is skipped, as capture quarantines it.
const LARGEST: i32 = 16 << 20;

/// A table that entities may be read from.
#[derive(Debug)]
pub(super) struct Table {
    /// Its full name.
    pub(super) full: String,
    pub(super) name: TableName,
    pub(super) readable: bool,
    /// PostgreSQL's estimate of its rows; `None` if it has made none yet.
    pub(super) rows: Option<i64>,
}

/// The tables that entities may be read from, by name.
pub(super) async fn tables<C: GenericClient + Sync>(tx: &C, prefix: &str) -> Result<Vec<Table>, Error> {
    let sql = "SELECT c.tbl, has_table_privilege(c.relid, 'SELECT'), nullif(p.reltuples, -1)::int8 FROM openregister_webhooks.capturable() c \
        JOIN pg_catalog.pg_class p ON p.oid = c.relid ORDER BY c.tbl COLLATE \"C\"";
    let rows = tx.query_typed(sql, &[]).await?;
    rows.iter()
        .filter_map(|row| {
            let table = || {
                let full: String = row.try_get(0)?;
                let Some(name) = TableName::parse(&full, prefix) else {
                    return Ok(None);
                };
                Ok(Some(Table {
                    full,
                    name,
                    readable: row.try_get(1)?,
                    rows: row.try_get(2)?,
                }))
            };
            table().transpose()
        })
        .collect()
}

/// Makes one step. Returns since when it holds the lock of the queue.
pub(super) async fn step(
    context: &StepContext<'_>,
    tx: &Transaction<'_>,
    webhook: &Webhook,
    job: &mut Job,
) -> Result<Option<Instant>, StepError> {
    let request: StoredBackfill = StepError::stored(job.request.clone())?;
    let mut place: RowPlace = StepError::stored(job.place.clone())?;
    let all = tables(tx, context.table_prefix).await?;
    let table = all
        .iter()
        .filter(|table| request.takes(&table.full, &table.name))
        .find(|table| place.table.as_ref().is_none_or(|current| table.full >= *current));
    let Some(table) = table else {
        job.state = JobState::Done;
        return Ok(None);
    };
    if !table.readable {
        return Err(StepError::NoSelect(table.full.clone()));
    }
    if place.table.as_ref() != Some(&table.full) {
        place = RowPlace {
            table: Some(table.full.clone()),
            after: None,
        };
    }
    let day = queue::lock(tx).await?;
    let locked = Instant::now();
    let host = &mut *context.host.lock().await;
    let rows = read(host, table, &request, place.after, context.rows).await?;
    let at = Utc::now();
    let images: Vec<Row> = rows
        .iter()
        .filter_map(|(_, image)| parse_row(image.as_deref()?).ok())
        .collect();
    note_skipped(job, table, rows.len() - images.len());
    let id = |lane: &lifecycle::Lane| {
        EventId::made("backfill", &[&job.id.to_be_bytes(), lane.as_str().as_bytes()])
    };
    let events = lifecycle::created(tx, host, context.table_prefix, &table.name, &images, at, id).await?;
    let wanted: Vec<Event> = events
        .into_iter()
        .filter(|event| wants(context, webhook, event))
        .collect();
    let stored = store::insert_for(tx, day, &wanted, Some(webhook.id.0)).await?;
    let deliveries: Vec<NewDelivery> = wanted
        .iter()
        .zip(stored)
        .map(|(event, (day, seq))| NewDelivery {
            webhook: webhook.id,
            event: EventRef { day, seq },
            lane: event.lane.clone(),
            ordered: webhook.ordering == Ordering::Object,
            await_user: None,
            reason: Reason::Backfill,
        })
        .collect();
    enqueue(tx, &deliveries).await?;
    job.seen += i64::try_from(rows.len()).unwrap_or_default();
    job.enqueued += i64::try_from(deliveries.len()).unwrap_or_default();
    place.after = rows.last().map_or(place.after, |(id, _)| Some(*id));
    if rows.is_empty() {
        // Continue with the next table: the smallest name that follows this one.
        place = RowPlace {
            table: Some(format!("{}\u{1}", table.full)),
            after: None,
        };
    }
    job.place = to_json(&place);
    Ok(Some(locked))
}

/// Notes with the job that rows of a table were skipped.
fn note_skipped(job: &mut Job, table: &Table, count: usize) {
    if count > 0 {
        job.note =
            Some("some rows are too large, or no JSON can be read of them: they are passed over".to_owned());
        tracing::warn!(
            job = job.id,
            table = table.full,
            count,
            "rows cannot be backfilled"
        );
    }
}

fn wants(context: &StepContext<'_>, webhook: &Webhook, event: &Event) -> bool {
    matching::matches_one(webhook, event, context.metrics) == Some(Match::Yes)
}

/// The next rows after an id, `most` at most; without the row image if that is too large.
async fn read(
    host: &mut HostConnection,
    table: &Table,
    request: &StoredBackfill,
    after: Option<i64>,
    most: i64,
) -> Result<Vec<(i64, Option<String>)>, HostError> {
    let (id, only) = match table.name.store() {
        Store::Magic { .. } => ("_id", ""),
        // This table stores register and schema as numbers in text columns.
        Store::Blob => (
            "id",
            " AND ($5::text[] IS NULL OR \"orw row\".register = ANY ($5)) AND ($6::text[] IS NULL OR \"orw row\".schema = ANY ($6))",
        ),
        Store::Plain(_) | Store::Audit => ("id", ""),
    };
    let mut tables = host.tables().await?;
    let sql = format!(
        "SELECT id, CASE WHEN octet_length(image) <= $4 THEN image END FROM ( \
            SELECT id, image, sum(octet_length(image)) OVER (ORDER BY id) - octet_length(image) AS before FROM ( \
                SELECT \"orw row\".{id}::int8 AS id, row_to_json(\"orw row\")::text AS image FROM {table} AS \"orw row\" \
                WHERE \"orw row\".{id} > $1::int8{only} ORDER BY \"orw row\".{id} LIMIT $2) w) b \
         WHERE before < $3 ORDER BY id",
        table = tables.name(&table.full)
    );
    let texts = |ids: &Option<Vec<i64>>| {
        ids.as_ref()
            .map(|ids| ids.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let (registers, schemas) = (texts(&request.registers), texts(&request.schemas));
    let after = after.unwrap_or(i64::MIN);
    let mut parameters: Vec<(&(dyn ToSql + Sync), Type)> = vec![
        (&after, Type::INT8),
        (&most, Type::INT8),
        (&BYTES, Type::INT8),
        (&LARGEST, Type::INT4),
    ];
    if !only.is_empty() {
        parameters.extend([
            (&registers as &(dyn ToSql + Sync), Type::TEXT_ARRAY),
            (&schemas, Type::TEXT_ARRAY),
        ]);
    }
    let rows = host.query(&tables, &[&sql], &parameters).await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}
