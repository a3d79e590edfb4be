//! Reading the events that are to be delivered.
//!
//! Guarantees: reads that are asked for at the same time become one query; at most [`BATCH`] a query. How many events
//! are in memory is the caller's bound. An event that the database cannot read (its file is damaged) fails alone.

use std::collections::HashMap;
use std::sync::Arc;

use deadpool_postgres::Pool;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::queue::EventRef;
use crate::capture::Fault;
use crate::db::DbError;
use crate::lifecycle::{Stored, store};
use crate::supervise::Crew;

/// Events a query.
const BATCH: usize = 64;

/// Why an event cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum EventError {
    #[error("the event is no longer there: it was older than the retention, or erased")]
    Gone,
    #[error("the stored event cannot be read: {0}")]
    Unreadable(String),
    /// The fault of this event alone.
    #[error("the database cannot read the stored event, it is damaged: {0}")]
    Damaged(String),
    /// The fault of no event.
    #[error("the event could not be read from the database: {0}")]
    Database(String),
}

type Reply = oneshot::Sender<Result<Arc<Stored>, EventError>>;

/// Reads events; cheap to clone.
#[derive(Clone)]
pub(crate) struct Events(mpsc::Sender<(EventRef, Reply)>);

impl Events {
    /// Starts reading; ends when the last clone is dropped.
    pub(crate) fn start(crew: &mut Crew, pool: Pool) -> Self {
        let (sender, mut receiver) = mpsc::channel::<(EventRef, Reply)>(BATCH);
        crew.spawn("events", async move {
            let mut asked = Vec::with_capacity(BATCH);
            while receiver.recv_many(&mut asked, BATCH).await > 0 {
                let found = load(&pool, &asked).await;
                for (event, reply) in asked.drain(..) {
                    let answer = found.get(&event).cloned().unwrap_or(Err(EventError::Gone));
                    // Nobody waits any more: fine.
                    let _ = reply.send(answer);
                }
            }
        });
        Self(sender)
    }

    pub(crate) async fn get(&self, event: EventRef) -> Result<Arc<Stored>, EventError> {
        let ended = || EventError::Database("the reader of events has ended".to_owned());
        let (sender, receiver) = oneshot::channel();
        self.0.send((event, sender)).await.map_err(|_| ended())?;
        receiver.await.map_err(|_| ended())?
    }
}

type Found = HashMap<EventRef, Result<Arc<Stored>, EventError>>;

/// Reads them together; where the server cannot read one of them, that one is found by halving, and the others are read without it.
async fn load(pool: &Pool, asked: &[(EventRef, Reply)]) -> Found {
    let mut events: Vec<EventRef> = asked.iter().map(|(event, _)| *event).collect();
    events.sort_unstable();
    events.dedup();
    let mut found = Found::new();
    let mut parts = vec![events.as_slice()];
    while let Some(part) = parts.pop() {
        match load_part(pool, part).await {
            Ok(read) => found.extend(read),
            Err(error) if !is_damage(&error) => {
                // Nothing of an event's own: the next query would fail, too.
                let why = EventError::Database(crate::text::chain(&error));
                let rest = parts.iter().flat_map(|part| part.iter()).chain(part);
                found.extend(rest.map(|event| (*event, Err(why.clone()))));
                return found;
            }
            Err(_) if part.len() > 1 => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
            Err(error) => {
                let why = EventError::Damaged(crate::text::chain(&error));
                found.extend(part.iter().map(|event| (*event, Err(why.clone()))));
            }
        }
    }
    found
}

/// Whether the server answered that it cannot read what is stored: that is the fault of one event's data, and will be again.
fn is_damage(error: &DbError) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut code = None;
    while let Some(error) = next {
        // An error that is another one transparently leaves that one out of its sources.
        let query = error.downcast_ref::<tokio_postgres::Error>();
        let answer = error.downcast_ref::<tokio_postgres::error::DbError>();
        code = code
            .or_else(|| query.and_then(tokio_postgres::Error::code))
            .or_else(|| answer.map(tokio_postgres::error::DbError::code));
        next = error.source();
    }
    let code = code.map(SqlState::code);
    // Internal error, data or index corrupted; the file or a block of it cannot be read.
    code.is_some_and(|code| matches!(code, "XX000" | "XX001" | "XX002" | "58030" | "58P01"))
        || Fault::of(error) == Fault::Data
}

async fn load_part(pool: &Pool, events: &[EventRef]) -> Result<Found, DbError> {
    // LIMIT 1 keeps this a look-up per event: a join could be planned as a scan of all events.
    let sql = "SELECT e.* FROM unnest($1::date[], $2::bigint[]) AS r(day, seq) CROSS JOIN LATERAL \
        (SELECT day, seq, id, class, lane, at, pid, new, old, actor, awaiting FROM openregister_webhooks.event e \
        WHERE e.day = r.day AND e.seq = r.seq LIMIT 1) e";
    let days: Vec<_> = events.iter().map(|e| e.day).collect();
    let seqs: Vec<_> = events.iter().map(|e| e.seq).collect();
    let client = pool.get().await?;
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
}

fn read(row: &Row) -> Result<Stored, EventError> {
    store::read(row).map_err(|error| EventError::Unreadable(error.to_string()))
}
