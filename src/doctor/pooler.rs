//! Whether a transaction-pooling PgBouncer is between this machine and the server.
//!
//! Such a pooler gives the next transaction of a connection to any server session that is free. So while a second connection holds a
//! transaction open, another session answers the first one, or that transaction runs in the session that had answered before. A pooler
//! that assigns whole sessions does no harm and cannot be noticed.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::connection::explain;
use super::finding::Finding;
use crate::capture::DoorbellMode;
use crate::database::{Database, DatabaseError, Notifications};

const CHECK: &str = "pooler";
/// The number of tries, because a pooler may happen to give the same session again.
const ROUNDS: usize = 3;
/// The longest wait for an answer. A pooler without a free session makes a client wait; a server never does.
const ANSWER: Duration = Duration::from_secs(2);

/// Whether two connections share server sessions.
pub(crate) async fn is_pooled(database: &Database) -> Result<bool, DatabaseError> {
    let (first, _) = database.connect().await?;
    let (second, _) = database.connect().await?;
    Ok(sessions_are_shared(&first, &second).await?)
}

/// What is between this machine and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// Nothing, or a pooler that assigns whole sessions.
    None,
    /// A transaction pooler that keeps prepared statements (PgBouncer 1.21 with `max_prepared_statements`).
    KeepsStatements,
    /// A transaction pooler that does not: a statement prepared in one session is unknown in the next.
    ForgetsStatements,
}

/// Finds out what is between this machine and the server.
pub(crate) async fn pooling(database: &Database) -> Result<Pooling, DatabaseError> {
    let (first, _) = database.connect().await?;
    let (second, _) = database.connect().await?;
    if !sessions_are_shared(&first, &second).await? {
        return Ok(Pooling::None);
    }
    Ok(if keeps_statements(&first, &second).await? {
        Pooling::KeepsStatements
    } else {
        Pooling::ForgetsStatements
    })
}

/// Whether a statement prepared in one session can be used in the session that the pooler gives next.
async fn keeps_statements(first: &Client, second: &Client) -> Result<bool, tokio_postgres::Error> {
    let Ok(statement) = first.prepare("SELECT pg_backend_pid()").await else {
        return Ok(false);
    };
    for _ in 0..ROUNDS {
        // This occupies the session that knows the statement, so another session has to answer.
        second.batch_execute("BEGIN; SELECT pg_backend_pid()").await?;
        let kept = matches!(timeout(ANSWER, first.query(&statement, &[])).await, Ok(Ok(_)));
        second.batch_execute("ROLLBACK").await?;
        if !kept {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether there is a transaction pooler (so that settings of a session must not be changed), and the findings.
pub(super) async fn check(
    database: &Database,
    client: &Client,
    doorbell: DoorbellMode,
) -> Result<(bool, Vec<Finding>), tokio_postgres::Error> {
    let (second, mut notifications) = match database.connect().await {
        Ok(connection) => connection,
        Err(error) => return Ok((true, vec![explain(&error, &database.target())])),
    };
    let pooled = match sessions_are_shared(client, &second).await {
        Err(error)
            if error
                .as_db_error()
                .is_some_and(|e| e.message().contains("statement pooling")) =>
        {
            let finding = Finding::error(
                CHECK,
                "a statement-pooling PgBouncer is between this machine and the server",
                "transactions cannot run through it (pool_mode = statement)",
                "set pool_mode = transaction and ORW_DOORBELL=poll, or connect to the server itself with ORW_DATABASE_URL",
            );
            return Ok((true, vec![finding]));
        }
        shared => shared?,
    };
    let finding = match (pooled, doorbell) {
        (true, DoorbellMode::Poll) if keeps_statements(client, &second).await? => Finding::ok(
            CHECK,
            "a transaction-pooling PgBouncer is in between; ORW_DOORBELL=poll works through it",
        ),
        (true, DoorbellMode::Poll) => Finding::error(
            CHECK,
            "the PgBouncer between this machine and the server does not keep prepared statements",
            "deliveries and the API use prepared statements, which a transaction pooler has to keep",
            "set its max_prepared_statements (PgBouncer 1.21 or later), or connect to the server itself with ORW_DATABASE_URL",
        ),
        (true, DoorbellMode::Notify) => Finding::error(
            CHECK,
            "a transaction-pooling PgBouncer is between this machine and the server",
            "LISTEN and the leader's lock belong to a server session, but such a pooler gives each transaction another session: events would \
             come late or not at all",
            "name the server itself (its own port, usually 5432) in ORW_DATABASE_URL; or set ORW_DOORBELL=poll, which works through \
             PgBouncer 1.21 or later with max_prepared_statements and finds changes within ORW_POLL_INTERVAL_MS",
        ),
        (false, DoorbellMode::Poll) => Finding::note(
            CHECK,
            "the connection is direct: ORW_DOORBELL=notify would find changes sooner than polling",
        ),
        (false, DoorbellMode::Notify) => {
            if rings(client, &second, &mut notifications).await? {
                Finding::ok(CHECK, "the connection is direct, and notifications arrive")
            } else {
                Finding::error(
                    CHECK,
                    "notifications do not arrive",
                    format!(
                        "a NOTIFY sent on one connection did not reach a LISTEN on another within {} s; something between this machine and \
                         the server pools or filters connections",
                        ANSWER.as_secs()
                    ),
                    "name the server itself (its own port, usually 5432) in ORW_DATABASE_URL, or set ORW_DOORBELL=poll",
                )
            }
        }
    };
    Ok((pooled, vec![finding]))
}

async fn sessions_are_shared(first: &Client, second: &Client) -> Result<bool, tokio_postgres::Error> {
    for _ in 0..ROUNDS {
        let before = backend(first).await?;
        second.batch_execute("BEGIN").await?;
        let shared = async {
            let other = backend(second).await?;
            if other == before {
                return Ok(true);
            }
            match timeout(ANSWER, backend(first)).await {
                Ok(after) => Ok(after? != before),
                Err(_) => Ok(true),
            }
        }
        .await;
        second.batch_execute("ROLLBACK").await?;
        if shared? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The server session that answers. It uses the simple protocol, which every pooler supports.
async fn backend(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    let messages = client.simple_query("SELECT pg_backend_pid()").await?;
    Ok(messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}

/// Whether a notification from one connection reaches the other.
async fn rings(
    sender: &Client,
    listener: &Client,
    notifications: &mut Notifications,
) -> Result<bool, tokio_postgres::Error> {
    listener
        .batch_execute("LISTEN openregister_webhooks_doctor")
        .await?;
    sender
        .batch_execute("NOTIFY openregister_webhooks_doctor")
        .await?;
    let rang = matches!(timeout(ANSWER, notifications.ring()).await, Ok(true));
    listener
        .batch_execute("UNLISTEN openregister_webhooks_doctor")
        .await?;
    Ok(rang)
}
