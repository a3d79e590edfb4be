//! Events that the database cannot read: what is known of them goes to the quarantine, once for all webhooks.

use std::time::Duration;

use chrono::{DateTime, Utc};
use deadpool_postgres::{Client, Pool};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};

use crate::capture::{Op, QuarantineEntry};
use crate::database::DatabaseError;
use crate::delivery::ask::ask;
use crate::delivery::events::{EventError, is_damage};
use crate::delivery::queue::{Claimed, EventRef};
use orw_model::{Action, EventClass};

/// Puts the event of a delivery aside, unless a delivery to another webhook did.
pub(super) async fn put_aside(
    pool: &Pool,
    patience: Duration,
    delivery: &Claimed,
    error: &EventError,
) -> Result<(), DatabaseError> {
    let event = delivery.event;
    let known = match ask(pool, patience, async |client| look(client, event).await).await {
        Ok(row) => Known::of(&row)?,
        // Then it is not only what is stored out of line that is damaged.
        Err(error) if is_damage(&error) => Known::default(),
        Err(error) => return Err(error),
    };
    let lane = delivery.lane.as_str();
    ask(pool, patience, async |client| {
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
    // Whoever puts aside waits for others who do; a look without the lock could miss them. Capture writes there, too, and would
    // wait behind this: so not for long.
    tx.batch_execute(
        "SET LOCAL lock_timeout = '2s'; LOCK TABLE openregister_webhooks.quarantine IN SHARE ROW EXCLUSIVE MODE",
    )
    .await?;
    let there = tx
        .query_typed(
            "SELECT 1 FROM openregister_webhooks.quarantine WHERE lsn = '0/0' AND reason LIKE $1 || ' %' LIMIT 1",
            &[(&name, Type::TEXT)],
        )
        .await?;
    if !there.is_empty() {
        return Ok(());
    }
    let prefix = "SELECT table_prefix FROM openregister_webhooks.settings";
    let prefix: String = tx.query_one(prefix, &[]).await?.try_get(0)?;
    // Which of their tables an object is in is part of what cannot be read.
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
