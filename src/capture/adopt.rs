//! After a restore into another cluster: decides what happens to what was not delivered yet.
//!
//! The LSNs and transaction ids in the restored outbox belong to the cluster they came from, and the position names a snapshot of that
//! cluster. The leader is held until somebody decides. Guarantees: nothing is decided before the last step, so after a crash at any
//! point the command is run again; no writer waits (change tables are locked with NOWAIT, and a writer that finds one locked uses
//! another); with [`Decision::Deliver`] everything that is not known to be delivered is delivered, in order per object, before anything
//! later.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use super::locks;
use super::position::{self, Identity, LoadError, Position, Snapshot};

/// What happens to what was not delivered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Deliver it: this database continues where the other one stopped.
    Deliver,
    /// Discard it: this database is a copy, and the other one continues.
    Discard,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adopted {
    pub decision: Decision,
    /// Changes that will be delivered before anything later, or that were dropped.
    pub changes: u64,
    /// Pending deliveries that were cancelled; 0 with [`Decision::Deliver`], which keeps them.
    pub cancelled: u64,
    /// The cluster that the position belonged to.
    pub from: Identity,
    /// The cluster that it belongs to now.
    pub to: Identity,
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    #[error(
        "the schema openregister_webhooks is not in this database, or its position cannot be read: run `openregister-webhooks doctor`"
    )]
    NotInstalled(#[source] tokio_postgres::Error),
    #[error("nothing is to be adopted: the reader's position belongs to this database already")]
    Nothing,
    #[error(
        "an installation, or another adopt, is at work in this database: run it again when that has ended"
    )]
    AtWork,
    #[error(
        "openregister_webhooks.change_{table} was in use for {waited} s{holder}; wait for that transaction or end it, and run adopt again"
    )]
    Busy { table: i32, waited: u64, holder: String },
    #[error("the reader's position cannot be read: {0}")]
    Position(#[from] LoadError),
    #[error("the database says no: {0}")]
    Query(#[from] tokio_postgres::Error),
}

/// The time between two tries to lock a change table that is in use.
const RETRY: Duration = Duration::from_millis(5);

/// Decides. Waits at most `patience` for each change table to be out of use for an instant. With [`Decision::Discard`], `discard` is
/// called in the last transaction: it cancels what was read before and is not delivered, and says how many deliveries that were.
///
/// # Errors
/// See [`AdoptError`]; run it again after the cause is gone.
pub async fn adopt(
    client: &mut Client,
    decision: Decision,
    patience: Duration,
    discard: impl AsyncFnOnce(&Transaction<'_>) -> Result<u64, tokio_postgres::Error>,
) -> Result<Adopted, AdoptError> {
    let (_, from, to) = foreign(client).await?;
    let mut changes = 0;
    let rows = client
        .query_typed("SELECT openregister_webhooks.slot()", &[])
        .await?;
    let slot: i32 = rows.first().map_or(0, |r| r.get(0));
    // The current table last: what writers put into another table while it is locked is then later than everything that was moved.
    for table in [(slot + 1) % 3, (slot + 2) % 3, slot % 3] {
        changes += empty_table(client, decision, table, patience).await?;
    }
    let tx = client.transaction().await?;
    lock(&tx).await?;
    // Another adopt may have been quicker.
    let (old, ..) = foreign(tx.client()).await?;
    let mut cancelled = 0;
    if decision == Decision::Discard {
        changes += count(&tx, "change_adopted").await?;
        tx.batch_execute("TRUNCATE openregister_webhooks.change_adopted")
            .await?;
        discard_gaps(&tx).await?;
        cancelled = discard(&tx).await?;
    }
    let next = Position {
        n: old.n + 1,
        // Everything that is left in the change tables belongs to this cluster and is unread.
        snapshot: Snapshot::beginning(),
        window: None,
    };
    position::make_room(tx.client(), &next).await?;
    position::save(&next, to).run(&tx).await?;
    tx.commit().await?;
    Ok(Adopted {
        decision,
        changes,
        cancelled,
        from,
        to,
    })
}

/// The stored position, the cluster that it belongs to, and the one that `client` is connected to. Fails if they are the same.
async fn foreign(client: &Client) -> Result<(Position, Identity, Identity), AdoptError> {
    let (current, xmax) = position::current_identity(client).await?;
    let stored = match position::load(client).await {
        Err(LoadError::Query(error)) => return Err(AdoptError::NotInstalled(error)),
        loaded => loaded?,
    };
    match stored {
        Some((position, identity)) if position.is_foreign(identity, current, xmax) => {
            Ok((position, identity, current))
        }
        _ => Err(AdoptError::Nothing),
    }
}

/// Excludes installations and other runs of `adopt` until the end of the transaction. It is not a session lock, because behind a
/// transaction pooler that would stay with somebody else's session.
async fn lock(tx: &Transaction<'_>) -> Result<(), AdoptError> {
    let rows = tx
        .query_typed(
            "SELECT pg_try_advisory_xact_lock($1)",
            &[(&locks::INSTALL, Type::INT8)],
        )
        .await?;
    if rows.first().is_some_and(|r| r.get(0)) {
        Ok(())
    } else {
        Err(AdoptError::AtWork)
    }
}

/// Moves a change table's rows to `change_adopted`, or drops them. Returns how many there were.
async fn empty_table(
    client: &mut Client,
    decision: Decision,
    table: i32,
    patience: Duration,
) -> Result<u64, AdoptError> {
    let began = Instant::now();
    loop {
        let tx = client.transaction().await?;
        lock(&tx).await?;
        let exclusive =
            format!("LOCK TABLE openregister_webhooks.change_{table} IN ACCESS EXCLUSIVE MODE NOWAIT");
        match tx.batch_execute(&exclusive).await {
            Ok(()) => {}
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                tx.rollback().await?;
                if began.elapsed() >= patience {
                    return Err(AdoptError::Busy {
                        table,
                        waited: began.elapsed().as_secs(),
                        holder: holder(client, table).await?,
                    });
                }
                sleep(RETRY).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        let name = format!("change_{table}");
        let rows = match decision {
            Decision::Deliver => {
                let sql = format!(
                    "WITH moved AS (INSERT INTO openregister_webhooks.change_adopted \
                     SELECT * FROM openregister_webhooks.{name} RETURNING 1) SELECT count(*) FROM moved"
                );
                let rows = tx.query_typed(&sql, &[]).await?;
                rows.first().map_or(0, |r| r.get::<_, i64>(0)).cast_unsigned()
            }
            Decision::Discard => count(&tx, &name).await?,
        };
        tx.batch_execute(&format!("TRUNCATE openregister_webhooks.{name}"))
            .await?;
        tx.commit().await?;
        return Ok(rows);
    }
}

/// Describes, for a person, the oldest transaction that uses a change table.
async fn holder(client: &Client, table: i32) -> Result<String, tokio_postgres::Error> {
    let rows = client
        .query_typed(
            "SELECT a.pid, coalesce(a.usename::text, '?'), coalesce(to_char(a.xact_start AT TIME ZONE 'UTC', 'HH24:MI:SS'), '?') \
             FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
             JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = 'openregister_webhooks' AND c.relname = 'change_' || $1::text AND l.granted \
               AND a.pid <> pg_backend_pid() ORDER BY a.xact_start LIMIT 1",
            &[(&table.to_string(), Type::TEXT)],
        )
        .await?;
    Ok(rows.first().map_or_else(String::new, |row| {
        format!(
            " by the transaction that {} (pid {}) began at {} UTC",
            row.get::<_, &str>(1),
            row.get::<_, i32>(0),
            row.get::<_, &str>(2)
        )
    }))
}

async fn count(tx: &Transaction<'_>, table: &str) -> Result<u64, tokio_postgres::Error> {
    let sql = format!("SELECT count(*) FROM openregister_webhooks.{table}");
    let rows = tx.query_typed(&sql, &[]).await?;
    Ok(rows.first().map_or(0, |r| r.get::<_, i64>(0)).cast_unsigned())
}

/// Marks every gap as announced: a copy must not tell the original's receivers what the original did not capture.
async fn discard_gaps(tx: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    tx.batch_execute(
        "DO $$ BEGIN IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('openregister_webhooks.gap') AND attname = 'told_at') THEN \
         UPDATE openregister_webhooks.gap SET told_at = clock_timestamp() WHERE told_at IS NULL; \
         DELETE FROM openregister_webhooks.missed; END IF; END $$",
    )
    .await
}
