//! Putting finished deliveries back into the queue, by hand.

use chrono::NaiveDate;
use serde_json::json;
use tokio::time::{Duration, Instant};
use tokio_postgres::{Client, Error, GenericClient, Row};

use super::delivery::{EventRef, NewDelivery, Reason};
use super::due::notify_peers;
use super::enqueue::{enqueue, lock};
use crate::lifecycle::Lane;
use crate::registry::{Caller, WebhookId, audit};

/// Deliveries that are put back in one transaction.
const BATCH: i64 = 1000;

/// What was put back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retried {
    /// How many deliveries.
    pub count: usize,
    /// The last delivery that was put back; `None` if none is left.
    pub last: Option<i64>,
}

/// Which deliveries are put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetrySelection {
    /// This one, given up or cancelled.
    One(i64),
    /// All that were given up after this delivery, oldest first; 0 for all.
    After(i64),
}

/// The condition for a row `l` of the log: its event is kept, and it was not put back already. What was put back has a later row, in the
/// queue or in the log, whose reason is not `live`: an event is enqueued for a webhook as `live` once. (The index of such rows holds few. It
/// finishes on the day of the event or later; one day more at each end allows for clocks.) `OFFSET 0` keeps PostgreSQL from joining, so that
/// each row is looked up by an index, whatever the statistics say about tables that were empty a moment ago.
pub(super) const CAN_BE_PUT_BACK: &str = "EXISTS (SELECT FROM openregister_webhooks.event e WHERE e.day = l.event_day AND e.seq = l.event_seq OFFSET 0) \
    AND NOT EXISTS (SELECT FROM openregister_webhooks.delivery_log o WHERE o.webhook = l.webhook AND o.event_seq = l.event_seq \
        AND o.reason <> 'live' AND o.lane = l.lane AND o.id > l.id \
        AND o.day >= l.event_day - 1 AND o.day <= (now() AT TIME ZONE 'UTC')::date + 1 OFFSET 0) \
    AND NOT EXISTS (SELECT FROM openregister_webhooks.delivery d WHERE d.webhook = l.webhook AND d.lane = l.lane \
        AND d.event_seq = l.event_seq AND d.id > l.id OFFSET 0)";

/// The first day of the log that may hold something to put back: a delivery does not finish before its event, of which the oldest day is
/// asked for (one day less allows for a clock that was set back). `None` if no event is kept.
///
/// # Errors
/// If the query fails.
pub(super) async fn first_day<C: GenericClient + Sync>(client: &C) -> Result<Option<NaiveDate>, Error> {
    let sql = "SELECT e.day - 1 FROM openregister_webhooks.event e ORDER BY e.day LIMIT 1";
    let rows = client.query_typed(sql, &[]).await?;
    rows.first().map(|row| row.try_get(0)).transpose()
}

/// How many deliveries of a webhook were given up and can be put back; it counts to `most` and no further.
///
/// # Errors
/// If the query fails.
pub async fn count_given_up(client: &Client, webhook: WebhookId, most: i64) -> Result<i64, Error> {
    let sql = format!(
        "SELECT count(*) FROM (SELECT FROM openregister_webhooks.delivery_log l \
         WHERE l.webhook = $1 AND l.state = 'given_up' AND {CAN_BE_PUT_BACK} LIMIT $2) counted"
    );
    client.query_one(&sql, &[&webhook.0, &most]).await?.try_get(0)
}

/// Puts at most `limit` deliveries of a webhook back into the queue, at the end of their lanes, oldest first. Those whose events are no
/// longer kept, and those that were put back already, are left out. They stay in the log.
///
/// # Errors
/// If a query fails.
pub async fn retry_given_up<C: GenericClient + Sync>(
    tx: &C,
    webhook: WebhookId,
    which: RetrySelection,
    ordered: bool,
    limit: i64,
) -> Result<Retried, Error> {
    // Without the lock, two callers at once could both find that nobody has put it back.
    lock(tx).await?;
    let sql = format!(
        "SELECT l.event_day, l.event_seq, l.lane, l.id FROM openregister_webhooks.delivery_log l \
         WHERE l.webhook = $1 AND l.state IN ('given_up', 'cancelled') AND CASE WHEN $2::bigint IS NULL \
             THEN l.state = 'given_up' ELSE l.id = $2 END AND l.id > $4 AND {CAN_BE_PUT_BACK} ORDER BY l.id LIMIT $3"
    );
    let (one, after) = match which {
        RetrySelection::One(id) => (Some(id), i64::MIN),
        RetrySelection::After(id) => (None, id),
    };
    let rows = tx.query(&sql, &[&webhook.0, &one, &limit, &after]).await?;
    Ok(Retried {
        count: enqueue_again(tx, webhook, &rows, ordered).await?,
        last: rows.last().map(|row| row.try_get(3)).transpose()?,
    })
}

/// Puts what these rows of the log name (day and number of the event, lane) at the end of the queue; says how many deliveries.
///
/// # Errors
/// If a query fails.
pub(super) async fn enqueue_again<C: GenericClient + Sync>(
    tx: &C,
    webhook: WebhookId,
    rows: &[Row],
    ordered: bool,
) -> Result<usize, Error> {
    let again = rows
        .iter()
        .map(|row| {
            Ok(NewDelivery {
                webhook,
                event: EventRef {
                    day: row.try_get(0)?,
                    seq: row.try_get(1)?,
                },
                lane: Lane::from_stored(row.try_get(2)?),
                ordered,
                await_user: None,
                reason: Reason::Retry,
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    enqueue(tx, &again).await?;
    Ok(again.len())
}

/// Puts back one delivery, or everything of a webhook that was given up, in several transactions, each with its row in the
/// audit table, for at most `time`. Running processes are notified.
///
/// # Errors
/// If a query fails; what was committed before stays.
pub async fn retry(
    client: &mut Client,
    webhook: WebhookId,
    one: Option<i64>,
    ordered: bool,
    time: Duration,
    by: &Caller,
) -> Result<Retried, Error> {
    let began = Instant::now();
    let mut total = Retried::default();
    let mut which = one.map_or(RetrySelection::After(0), RetrySelection::One);
    loop {
        let tx = client.transaction().await?;
        // The log is long, and there is an index for every condition.
        tx.batch_execute("SET LOCAL enable_seqscan = off; SET LOCAL jit = off")
            .await?;
        let done = retry_given_up(&tx, webhook, which, ordered, BATCH).await?;
        if done.count > 0 {
            audit(&tx, webhook, one, done.count, by).await?;
        }
        notify_peers(&tx).await?;
        tx.commit().await?;
        total.count += done.count;
        total.last = match done.last {
            Some(last) if one.is_none() && i64::try_from(done.count).is_ok_and(|n| n == BATCH) => Some(last),
            _ => return Ok(Retried { last: None, ..total }),
        };
        if began.elapsed() >= time {
            return Ok(total);
        }
        which = RetrySelection::After(total.last.unwrap_or_default());
    }
}

/// Writes to the audit table who put back how many: all that were given up, or `one`.
async fn audit<C: GenericClient + Sync>(
    tx: &C,
    webhook: WebhookId,
    one: Option<i64>,
    count: usize,
    by: &Caller,
) -> Result<(), Error> {
    let detail = json!({"delivery": one, "retried": count});
    audit::insert(tx, by, "retry", Some(webhook), &detail).await
}
