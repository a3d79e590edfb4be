//! Reading the events that are to be delivered.
//!
//! Guarantees: reads that are asked for at the same time become one query, of at most [`BATCH`] events. The caller bounds how many
//! events are in memory. An event that the database cannot read (its file is damaged) fails alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::error::Severity;

use super::queue::EventRef;
use super::timed_query::timed_query;
use crate::capture::Fault;
use crate::database::DatabaseError;
use crate::lifecycle::{StoredEvent, store};
use crate::supervise::Crew;

/// Most events in a query.
const BATCH: usize = 64;

/// Why an event cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum EventError {
    #[error("the event is no longer there: it was older than the retention, or erased")]
    Gone,
    #[error("the stored event cannot be read: {0}")]
    Unreadable(String),
    /// This event alone cannot be read, now and later.
    #[error("the database cannot read the stored event, it is damaged: {0}")]
    Damaged(String),
    /// The failure has nothing to do with the event.
    #[error("the event could not be read from the database: {0}")]
    Database(String),
}

type Reply = oneshot::Sender<Result<Arc<StoredEvent>, EventError>>;

/// Reads events; cheap to clone.
#[derive(Clone)]
pub(crate) struct Events {
    sender: mpsc::Sender<(EventRef, Reply)>,
    query_timeout: Duration,
}

impl Events {
    /// Starts the reader; it ends when the last clone is dropped. A caller waits at most `query_timeout` for an event, and the reader
    /// as long for an answer of the database.
    pub(crate) fn start(crew: &mut Crew, pool: Pool, query_timeout: Duration) -> Self {
        let (sender, mut receiver) = mpsc::channel::<(EventRef, Reply)>(BATCH);
        crew.spawn("events", async move {
            let mut asked = Vec::with_capacity(BATCH);
            while receiver.recv_many(&mut asked, BATCH).await > 0 {
                // Some callers may have stopped waiting.
                asked.retain(|(_, reply)| !reply.is_closed());
                let found = load(&pool, query_timeout, &asked).await;
                for (event, reply) in asked.drain(..) {
                    let answer = found.get(&event).cloned().unwrap_or(Err(EventError::Gone));
                    // The caller may have stopped waiting.
                    let _ = reply.send(answer);
                }
            }
        });
        Self {
            sender,
            query_timeout,
        }
    }

    pub(crate) async fn get(&self, event: EventRef) -> Result<Arc<StoredEvent>, EventError> {
        let failed = |why: &str| EventError::Database(why.to_owned());
        let answer = timeout(self.query_timeout, async {
            let (sender, receiver) = oneshot::channel();
            self.sender.send((event, sender)).await.ok()?;
            receiver.await.ok()
        });
        match answer.await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(failed("the reader of events has ended")),
            Err(_) => Err(failed("it gave no answer in time")),
        }
    }
}

type Found = HashMap<EventRef, Result<Arc<StoredEvent>, EventError>>;

/// Reads events in one query. If the server cannot read one of them, that one is found by bisection, and the others are read without it.
async fn load(pool: &Pool, query_timeout: Duration, asked: &[(EventRef, Reply)]) -> Found {
    let mut events: Vec<EventRef> = asked.iter().map(|(event, _)| *event).collect();
    events.sort_unstable();
    events.dedup();
    let mut found = Found::new();
    let mut parts = vec![events.as_slice()];
    while let Some(part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        match load_part(pool, query_timeout, part).await {
            Ok(read) => found.extend(read),
            Err(error) if !is_damage(&error) => {
                // The events are not the reason: the next query would fail, too.
                let why = EventError::Database(crate::error_text::chain(&error));
                let rest = parts.iter().flat_map(|part| part.iter()).chain(part);
                found.extend(rest.map(|event| (*event, Err(why.clone()))));
                return found;
            }
            Err(_) if part.len() > 1 => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
            Err(error) => {
                let why = EventError::Damaged(crate::error_text::chain(&error));
                found.extend(part.iter().map(|event| (*event, Err(why.clone()))));
            }
        }
    }
    found
}

/// Whether the server answered that it cannot read what is stored: the data of one event is the reason, and the next query for it fails
/// in the same way. An error that ends a connection, or prevents one, is not about an event, whatever its code is.
pub(super) fn is_damage(error: &DatabaseError) -> bool {
    let DatabaseError::Query(error) = error else {
        return false;
    };
    // Internal error; data or index corrupted; the file, or a block of it, cannot be read.
    let damaged = error.as_db_error().is_some_and(|said| {
        said.parsed_severity() == Some(Severity::Error)
            && matches!(
                said.code().code(),
                "XX000" | "XX001" | "XX002" | "58030" | "58P01"
            )
    });
    damaged || Fault::of(error) == Fault::Data
}

async fn load_part(
    pool: &Pool,
    query_timeout: Duration,
    events: &[EventRef],
) -> Result<Found, DatabaseError> {
    // LIMIT 1 keeps this a look-up per event: a join could be planned as a scan of all events.
    let sql = "SELECT e.* FROM unnest($1::date[], $2::bigint[]) AS r(day, seq) CROSS JOIN LATERAL \
        (SELECT day, seq, id, class, lane, at, pid, new, old, actor, awaiting FROM openregister_webhooks.event e \
        WHERE e.day = r.day AND e.seq = r.seq LIMIT 1) e";
    let days: Vec<_> = events.iter().map(|e| e.day).collect();
    let seqs: Vec<_> = events.iter().map(|e| e.seq).collect();
    timed_query(pool, query_timeout, async |client| {
        let statement = client.prepare_cached(sql).await?;
        let rows = client.query(&statement, &[&days, &seqs]).await?;
        rows.iter()
            .map(|row| {
                let key = EventRef {
                    day: row.try_get("day")?,
                    seq: row.try_get("seq")?,
                };
                Ok((key, read(row).map(Arc::new)))
            })
            .collect()
    })
    .await
}

/// Reads the row of an event.
///
/// # Errors
/// [`EventError::Unreadable`].
pub(super) fn read(row: &Row) -> Result<StoredEvent, EventError> {
    store::read(row).map_err(|error| EventError::Unreadable(error.to_string()))
}
