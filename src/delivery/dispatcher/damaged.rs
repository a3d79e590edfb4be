//! Events that the database cannot read: what is known of them goes to the quarantine, once, however many webhooks want them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use deadpool_postgres::{Client, Pool};
use tokio_postgres::{Error, Row};

use crate::capture::{self, Op, QuarantineEntry};
use crate::database::DatabaseError;
use crate::delivery::events::{EventError, is_damage};
use crate::delivery::queue::{Claimed, EventRef};
use crate::delivery::timed_query::timed_query;
use orw_model::{Action, EventClass};

/// Puts the event of a delivery into the quarantine, unless a delivery to another webhook has done so.
pub(super) async fn put_aside(
    pool: &Pool,
    query_timeout: Duration,
    delivery: &Claimed,
    error: &EventError,
) -> Result<(), DatabaseError> {
    let event = delivery.event;
    let known = match timed_query(pool, query_timeout, async |client| look(client, event).await).await {
        Ok(row) => Known::of(&row)?,
        // Then not only what is stored out of line is damaged.
        Err(error) if is_damage(&error) => Known::default(),
        Err(error) => return Err(error),
    };
    let lane = delivery.lane.as_str();
    timed_query(pool, query_timeout, async |client| {
        store(client, event, lane, &known, error).await
    })
    .await
}

/// Reads what is stored in line of an event.
async fn look(client: &Client, event: EventRef) -> Result<Row, Error> {
    let sql = "SELECT e.id, e.class, e.at, e.pid FROM (SELECT) one \
        LEFT JOIN openregister_webhooks.event e ON e.day = $1 AND e.seq = $2";
    client.query_one(sql, &[&event.day, &event.seq]).await
}

async fn store(
    client: &mut Client,
    event: EventRef,
    lane: &str,
    known: &Known,
    error: &EventError,
) -> Result<(), Error> {
    let tx = client.transaction().await?;
    let name = format!("event {} of {}", event.seq, event.day);
    if capture::quarantine::holds_event(&tx, &name).await? {
        return Ok(());
    }
    let prefix = "SELECT table_prefix FROM openregister_webhooks.settings";
    let prefix: String = tx.query_one(prefix, &[]).await?.try_get(0)?;
    // Which of the object tables it is in is part of what cannot be read.
    let table = match lane.split_once(':') {
        None | Some(("object" | "gap", _)) => "openregister_objects",
        Some((table, _)) => table,
    };
    let reason = format!("{name} ({}) cannot be delivered: {error}", known.id);
    let at = known.at.unwrap_or_else(Utc::now);
    QuarantineEntry::of_event(format!("{prefix}{table}"), known.op, at, known.pid, reason)
        .store(&*tx)
        .await?;
    tx.commit().await
}

/// What is known of an event without its states.
struct Known {
    id: String,
    op: Op,
    at: Option<DateTime<Utc>>,
    pid: i32,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            id: "its id is not known".to_owned(),
            op: Op::Update,
            at: None,
            pid: 0,
        }
    }
}

impl Known {
    fn of(row: &Row) -> Result<Self, Error> {
        let Some(id) = row.try_get("id")? else {
            return Ok(Self::default());
        };
        let class: &str = row.try_get("class")?;
        let op = match EventClass::from_short(class).map(EventClass::action) {
            Some(Action::Created) => Op::Insert,
            Some(Action::Deleted) => Op::Delete,
            _ => Op::Update,
        };
        Ok(Self {
            id,
            op,
            at: row.try_get("at")?,
            pid: row.try_get("pid")?,
        })
    }
}
