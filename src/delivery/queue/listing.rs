//! Looking at deliveries: those in the queue and those in the log, as one list; and the attempts of each.
//!
//! Guarantees: at most [`MAX_PAGE`] entries a page, newest first; each page begins where the one before ended, and no delivery that
//! matches is left out between them. A page takes about as long however long queue and log are: after `TIME` it shows what was found. So
//! if few deliveries match and no index leads to them, a page may be short, or empty, and still not be the last. No secret is in it that
//! belongs to a registration; what a receiver answered is in it, as far as it is kept.

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, GenericClient};

use super::conditions::Table;
use super::delivery::EventRef;
pub use super::entry::{AttemptEntry, Entry};
use super::entry::{attempt, entry};
pub use super::filter::{DeliveryFilter, Field};
use super::search::{Search, Shape};
use super::transition::{FINISHED, UNFINISHED};

/// The most that one page holds.
pub const MAX_PAGE: u16 = 500;

/// How long a page is searched for, if it is not full before: the statement under way then is the last.
const TIME: Duration = Duration::from_millis(100);

/// The states that can be asked for.
pub const STATES: [&str; 7] = {
    let ([pending, awaiting_user, leased, retrying], [succeeded, given_up, cancelled]) =
        (UNFINISHED, FINISHED);
    [
        pending,
        awaiting_user,
        leased,
        retrying,
        succeeded,
        given_up,
        cancelled,
    ]
};

/// Which part of the deliveries that match.
#[derive(Debug, Clone, Default)]
pub struct Query {
    pub filter: DeliveryFilter,
    /// Only those older than this id: where the page before ended.
    pub before: Option<i64>,
    pub limit: u16,
}

/// A page of deliveries.
#[derive(Debug, Clone)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// Where the next page begins ([`Query::before`]); `None` if this is the last one.
    pub next: Option<i64>,
}

impl Query {
    fn entries(&self) -> usize {
        usize::from(self.limit.clamp(1, MAX_PAGE))
    }
}

/// A page of deliveries, newest first.
///
/// # Errors
/// If a query fails.
pub async fn list<C: GenericClient + Sync>(client: &C, query: &Query) -> Result<Page, Error> {
    // One more than the page holds shows whether there is another page.
    let limit = i64::try_from(query.entries()).unwrap_or(i64::MAX) + 1;
    let deadline = Instant::now() + TIME;
    let mut parts = Vec::new();
    for table in [Table::Queue, Table::Log] {
        let shape = (Shape::Entries, "");
        let mut search = Search::begin(client, &query.filter, table, shape, query.before).await?;
        let rows = search.take(client, limit, deadline).await?;
        parts.push(Part {
            entries: rows.iter().map(entry).collect::<Result<_, _>>()?,
            stopped: search.stopped(),
        });
    }
    Ok(join(parts, query.entries()))
}

/// What one table has for a page.
#[derive(Default)]
struct Part {
    /// Newest first.
    entries: Vec<Entry>,
    /// Only rows with ids from this one on were looked at; `None`: all.
    stopped: Option<i64>,
}

/// One page of `most` entries from the parts of both tables.
fn join(parts: Vec<Part>, most: usize) -> Page {
    // Below the id at which a part stopped looking, that part may have more entries: nothing of the other part below it is shown.
    let bound = parts.iter().filter_map(|part| part.stopped).max();
    let mut entries: Vec<Entry> = parts.into_iter().flat_map(|part| part.entries).collect();
    entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.id));
    let shown = bound.map_or(most, |bound| {
        most.min(entries.partition_point(|entry| entry.id >= bound))
    });
    let more = entries.len() > shown || bound.is_some();
    entries.truncate(shown);
    let next = if entries.len() == most {
        entries.last().map(|entry| entry.id)
    } else {
        bound
    };
    Page {
        next: next.filter(|_| more),
        entries,
    }
}

/// Where the event of a delivery is stored, or was; `None` if there is no delivery with this id.
///
/// # Errors
/// If the query fails.
pub async fn event_of<C: GenericClient + Sync>(client: &C, id: i64) -> Result<Option<EventRef>, Error> {
    let sql = "SELECT event_day, event_seq FROM openregister_webhooks.delivery WHERE id = $1 \
        UNION ALL SELECT event_day, event_seq FROM openregister_webhooks.delivery_log WHERE id = $1 LIMIT 1";
    let row = client.query_typed(sql, &[(&id, Type::INT8)]).await?.pop();
    row.map(|row| {
        Ok(EventRef {
            day: row.try_get(0)?,
            seq: row.try_get(1)?,
        })
    })
    .transpose()
}

/// One delivery and its attempts, oldest first; `None` if there is no delivery with this id.
///
/// # Errors
/// If a query fails.
pub async fn show<C: GenericClient + Sync>(
    client: &C,
    id: i64,
) -> Result<Option<(Entry, Vec<AttemptEntry>)>, Error> {
    // The newest of those that are not newer than it: that is the delivery itself, if it exists.
    let query = Query {
        before: Some(id.saturating_add(1)),
        limit: 1,
        ..Query::default()
    };
    let Some(found) = list(client, &query)
        .await?
        .entries
        .into_iter()
        .find(|e| e.id == id)
    else {
        return Ok(None);
    };
    let sql = "SELECT number, at, duration_ms, status, cause, error, headers, response, probe FROM openregister_webhooks.attempt \
        WHERE delivery = $1 ORDER BY at DESC LIMIT 500";
    let mut attempts = client
        .query_typed(sql, &[(&id, Type::INT8)])
        .await?
        .iter()
        .map(attempt)
        .collect::<Result<Vec<_>, _>>()?;
    attempts.reverse();
    Ok(Some((found, attempts)))
}
