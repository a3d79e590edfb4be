//! Reading the events that are to be delivered.
//!
//! Guarantees: reads that are asked for at the same time become one query; at most [`BATCH`] a query. How many events
//! are in memory is the caller's bound.

use std::collections::HashMap;
use std::sync::Arc;

use deadpool_postgres::Pool;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Row;

use super::queue::EventRef;
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
                let mut found = load(&pool, &asked).await;
                for (event, reply) in asked.drain(..) {
                    let answer = match &mut found {
                        Ok(found) => found.get(&event).cloned().unwrap_or(Err(EventError::Gone)),
                        Err(error) => Err(EventError::Database(error.to_string())),
                    };
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

async fn load(pool: &Pool, asked: &[(EventRef, Reply)]) -> Result<Found, DbError> {
    // LIMIT 1 keeps this a look-up per event: a join could be planned as a scan of all events.
    let sql = "SELECT e.* FROM unnest($1::date[], $2::bigint[]) AS r(day, seq) CROSS JOIN LATERAL \
        (SELECT day, seq, id, class, lane, at, pid, new, old, actor, awaiting FROM openregister_webhooks.event e \
        WHERE e.day = r.day AND e.seq = r.seq LIMIT 1) e";
    let days: Vec<_> = asked.iter().map(|(e, _)| e.day).collect();
    let seqs: Vec<_> = asked.iter().map(|(e, _)| e.seq).collect();
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
