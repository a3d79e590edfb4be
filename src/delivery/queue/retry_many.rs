//! Putting back everything that a filter shows: counting it, and the statements of a step of such a job.
//!
//! Guarantees: what is put back was given up or cancelled, has its event, and was not put back already; the same is counted. Whatever is
//! counted was looked up; a count that is not the whole says so. A count takes [`COUNT_TIME`] and about one statement more at most. A look
//! reads [`LOOKED_AT`] rows at most. Both read only days of the log whose events may still be kept.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::Instant;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, GenericClient, Row};

use super::conditions::{Parameters, Table, all, condition};
use super::filter::{DeliveryFilter, Field};
use super::retry::{CAN_BE_PUT_BACK, enqueue_again, first_day};
use super::search::{Search, Shape, newest};
use crate::registry::WebhookId;

/// The states from which a delivery can be put back.
pub const RETRIED: [&str; 2] = ["given_up", "cancelled"];
/// So many are counted exactly.
const COUNTED: i64 = 10_000;
/// How long is counted, if there are not so many: somebody waits for the answer, and a job counts the rest as it works.
const COUNT_TIME: Duration = Duration::from_millis(100);
/// Deliveries that are looked at in one statement: each is looked up in three tables.
const COUNTED_AT_ONCE: i64 = 2_500;
/// Rows of the log that a look reads.
const LOOKED_AT: i64 = 5_000;
/// For statements that look up each row by an index, whatever the statistics say.
const LOOK_UPS: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL jit = off; \
    SET LOCAL max_parallel_workers_per_gather = 0";

/// The condition for a row `l` of the log whose state is one of [`RETRIED`]: its webhook still exists, and it can be put back.
static IS_RETRYABLE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "EXISTS (SELECT FROM openregister_webhooks.webhook w WHERE w.id = l.webhook) AND {CAN_BE_PUT_BACK}"
    )
});

/// How many deliveries of a filter can be put back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RetryCount {
    pub count: i64,
    /// `false`: there are more than `count`, or there may be.
    pub exact: bool,
    /// The same of each webhook.
    pub webhooks: Vec<WebhookCount>,
}

/// How many deliveries of one webhook can be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WebhookCount {
    pub webhook: i64,
    pub count: i64,
}

/// Counts what can be put back of a filter that names no other states than [`RETRIED`]. What is of a webhook that was deleted cannot.
///
/// # Errors
/// If a query fails.
pub async fn count_retryable(client: &mut Client, filter: &DeliveryFilter) -> Result<RetryCount, Error> {
    let tx = client.transaction().await?;
    tx.batch_execute(LOOK_UPS).await?;
    let deadline = Instant::now() + COUNT_TIME;
    let Some(day) = first_day(&tx).await? else {
        return Ok(RetryCount {
            exact: true,
            ..RetryCount::default()
        });
    };
    let mut search = Search::begin(&tx, filter, Table::Log, (Shape::Keys, &IS_RETRYABLE), None)
        .await?
        .since_day(day);
    let mut webhooks: BTreeMap<i64, i64> = BTreeMap::new();
    let mut count = 0;
    while search.stopped().is_some() && count <= COUNTED && Instant::now() < deadline {
        let most = COUNTED_AT_ONCE.min(COUNTED + 1 - count);
        // One statement: the deadline has passed when it ends.
        for row in search.take(&tx, most, Instant::now()).await? {
            *webhooks.entry(row.try_get("webhook")?).or_default() += 1;
            count += 1;
        }
    }
    tx.commit().await?;
    Ok(RetryCount {
        count: count.min(COUNTED),
        exact: search.stopped().is_none() && count <= COUNTED,
        webhooks: webhooks
            .into_iter()
            .map(|(webhook, count)| WebhookCount { webhook, count })
            .collect(),
    })
}

/// Whether this delivery can be put back.
///
/// # Errors
/// If the query fails.
pub async fn is_retryable<C: GenericClient + Sync>(client: &C, id: i64) -> Result<bool, Error> {
    let sql = format!(
        "SELECT EXISTS (SELECT FROM openregister_webhooks.delivery_log l WHERE l.id = $1 AND l.state <> 'succeeded' AND {})",
        *IS_RETRYABLE
    );
    let rows = client.query_typed(&sql, &[(&id, Type::INT8)]).await?;
    rows.first().map_or(Ok(false), |row| row.try_get(0))
}

/// The webhooks that have deliveries in these states in the log; also some that have none, if cancelled ones are asked for.
///
/// # Errors
/// If the query fails.
pub(crate) async fn webhooks_of_failures<C: GenericClient + Sync>(
    client: &C,
    states: &[&'static str],
) -> Result<Vec<WebhookId>, Error> {
    let sql = if states == ["given_up"] {
        // One look at the index for each.
        "WITH RECURSIVE w AS ( \
            (SELECT l.webhook FROM openregister_webhooks.delivery_log l WHERE l.state = 'given_up' ORDER BY l.webhook LIMIT 1) \
            UNION ALL \
            SELECT (SELECT l.webhook FROM openregister_webhooks.delivery_log l WHERE l.state = 'given_up' AND l.webhook > w.webhook \
                ORDER BY l.webhook LIMIT 1) FROM w WHERE w.webhook IS NOT NULL) \
         SELECT w.webhook FROM w WHERE w.webhook IS NOT NULL"
    } else {
        "SELECT id FROM openregister_webhooks.webhook"
    };
    let rows = client.query_typed(sql, &[]).await?;
    rows.iter().map(|row| row.try_get(0).map(WebhookId)).collect()
}

/// What a bulk retry is about: what had failed when it was asked for. What fails again meanwhile is not put back a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RetryBounds {
    /// The newest delivery.
    pub(crate) newest: i64,
    /// The time, by the clock of the database.
    pub(crate) at: DateTime<Utc>,
}

/// The bounds of a bulk retry that is asked for now.
///
/// # Errors
/// If a query fails.
pub(crate) async fn bounds<C: GenericClient + Sync>(tx: &C) -> Result<RetryBounds, Error> {
    let newest = newest(tx).await?;
    let rows = tx.query_typed("SELECT clock_timestamp()", &[]).await?;
    let at = rows
        .first()
        .map_or_else(|| Ok(Utc::now()), |row| row.try_get(0))?;
    Ok(RetryBounds { newest, at })
}

/// What a look at the log found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RetryLook {
    /// Deliveries that can be put back, oldest first.
    pub(crate) found: Vec<i64>,
    /// Deliveries that match, whether or not they can be put back.
    pub(crate) seen: i64,
    /// The last delivery that was looked at.
    pub(crate) last: i64,
    /// Nothing follows.
    pub(crate) complete: bool,
}

/// Looks at what follows `after`, oldest first, for at most `most` deliveries that match. The filter names a webhook and states.
///
/// # Errors
/// If the query fails.
pub(crate) async fn look<C: GenericClient + Sync>(
    tx: &C,
    filter: &DeliveryFilter,
    bounds: RetryBounds,
    after: i64,
    most: i64,
) -> Result<RetryLook, Error> {
    let Some(day) = first_day(tx).await? else {
        return Ok(RetryLook {
            last: after,
            complete: true,
            ..RetryLook::default()
        });
    };
    let mut parameters = Parameters::default();
    let day = parameters.add(day, Type::DATE);
    let after_sql = parameters.add(after, Type::INT8);
    let newest = parameters.add(bounds.newest, Type::INT8);
    let at = parameters.add(bounds.at, Type::TIMESTAMPTZ);
    let looked_at = parameters.add(LOOKED_AT, Type::INT8);
    let limit = parameters.add(most, Type::INT8);
    // Each of these has an index in the order of `id`.
    let indexed: &[Field] = if filter.states() == ["given_up"] {
        &[Field::Webhook, Field::State]
    } else {
        &[]
    };
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for field in Field::ALL {
        if let Some(condition) = condition(filter, field, Table::Log, &mut parameters) {
            let list = if indexed.contains(&field) {
                &mut first
            } else {
                &mut rest
            };
            list.push(condition);
        }
    }
    first.push(format!(
        "l.state <> 'succeeded' AND l.id > {after_sql} AND l.id <= {newest} AND l.day >= {day}"
    ));
    rest.push(format!("l.finished_at <= {at}"));
    let (columns, name) = (Table::Log.columns(), Table::Log.name());
    let sql = format!(
        "WITH s AS MATERIALIZED (SELECT {columns} FROM {name} l WHERE {} ORDER BY l.id LIMIT {looked_at}), \
         f AS MATERIALIZED (SELECT l.* FROM s AS l WHERE {} ORDER BY l.id LIMIT {limit}) \
         SELECT (SELECT count(*) FROM s) AS scanned, (SELECT max(s.id) FROM s) AS reached, l.id, ({CAN_BE_PUT_BACK}) AS possible \
         FROM (SELECT) one LEFT JOIN f AS l ON true ORDER BY l.id",
        all(&first),
        all(&rest)
    );
    tx.batch_execute(LOOK_UPS).await?;
    let rows = tx.query_typed(&sql, &parameters.list()).await?;
    read(&rows, after, most)
}

fn read(rows: &[Row], after: i64, most: i64) -> Result<RetryLook, Error> {
    let mut look = RetryLook {
        last: after,
        complete: true,
        ..RetryLook::default()
    };
    let Some(first) = rows.first() else {
        return Ok(look);
    };
    let scanned: i64 = first.try_get("scanned")?;
    let mut last = after;
    for row in rows {
        let Some(id) = row.try_get::<_, Option<i64>>("id")? else {
            continue;
        };
        look.seen += 1;
        last = id;
        if row.try_get("possible")? {
            look.found.push(id);
        }
    }
    if look.seen >= most {
        look.last = last;
        look.complete = false;
    } else {
        look.last = first.try_get::<_, Option<i64>>("reached")?.unwrap_or(after);
        look.complete = scanned < LOOKED_AT;
    }
    Ok(look)
}

/// Puts these deliveries of a webhook back into the queue, at the end of their lanes, oldest first; says how many. What was put back
/// meanwhile, or has lost its event, is left out. To be called under the lock of the queue.
///
/// # Errors
/// If a query fails.
pub(crate) async fn put_back<C: GenericClient + Sync>(
    tx: &C,
    webhook: WebhookId,
    deliveries: &[i64],
    ordered: bool,
) -> Result<usize, Error> {
    let sql = format!(
        "SELECT l.event_day, l.event_seq, l.lane FROM openregister_webhooks.delivery_log l \
         WHERE l.id = ANY ($1) AND l.webhook = $2 AND l.state <> 'succeeded' AND {CAN_BE_PUT_BACK} ORDER BY l.id"
    );
    let rows = tx
        .query_typed(&sql, &[(&deliveries, Type::INT8_ARRAY), (&webhook.0, Type::INT8)])
        .await?;
    enqueue_again(tx, webhook, &rows, ordered).await
}
