//! Events that the database cannot read: what is known of them goes to the quarantine, once for all webhooks.

use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::capture::{Op, Undecoded};
use crate::db::DbError;
use crate::delivery::events::EventError;
use crate::delivery::queue::EventRef;
use crate::openregister::{Action, EventClass};

/// Puts an event aside, unless a delivery to another webhook did.
pub(super) async fn put_aside(pool: &Pool, event: EventRef, error: &EventError) -> Result<(), DbError> {
    let mut client = pool.get().await?;
    let tx = client.transaction().await?;
    let name = format!("event {} of {}", event.seq, event.day);
    // Whoever puts aside waits for others who do; a look without the lock could miss them.
    tx.batch_execute("LOCK TABLE openregister_webhooks.quarantine IN SHARE ROW EXCLUSIVE MODE")
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
    // Nothing that is stored out of line, where the damage may be.
    let rows = tx
        .query_typed(
            "SELECT s.table_prefix, e.id, e.class, e.lane, e.at, e.pid FROM openregister_webhooks.settings s \
             LEFT JOIN openregister_webhooks.event e ON e.day = $1 AND e.seq = $2",
            &[(&event.day, Type::DATE), (&event.seq, Type::INT8)],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(());
    };
    let known = Known::of(row)?;
    let reason = format!("{name} ({}) cannot be delivered: {error}", known.id);
    Undecoded::of_event(known.table, known.op, known.at, known.pid, reason)
        .store(&*tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

/// What is known of an event without its states.
struct Known {
    id: String,
    table: String,
    op: Op,
    at: DateTime<Utc>,
    pid: i32,
}

impl Known {
    fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let prefix: &str = row.try_get("table_prefix")?;
        let lane: Option<&str> = row.try_get("lane")?;
        let class: Option<&str> = row.try_get("class")?;
        // Which of their tables an object is in is part of what cannot be read.
        let table = match lane.and_then(|lane| lane.split_once(':')) {
            None | Some(("object" | "gap", _)) => "openregister_objects",
            Some((table, _)) => table,
        };
        let action = class.and_then(EventClass::from_short).map(EventClass::action);
        Ok(Self {
            id: row.try_get::<_, Option<String>>("id")?.unwrap_or_default(),
            table: format!("{prefix}{table}"),
            op: match action {
                Some(Action::Created) => Op::Insert,
                Some(Action::Deleted) => Op::Delete,
                _ => Op::Update,
            },
            at: row.try_get::<_, Option<_>>("at")?.unwrap_or_else(Utc::now),
            pid: row.try_get::<_, Option<_>>("pid")?.unwrap_or_default(),
        })
    }
}
