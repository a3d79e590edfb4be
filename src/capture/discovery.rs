//! Finds tables that appeared without the capture trigger, and attaches it.
//!
//! The hook on `appconfig` catches a magic table before its first row. Discovery is the safety net: it runs at start and then at an
//! interval. The rows that a table holds when it is found become Created events, up to 10,000 rows; beyond that a gap is recorded. A
//! trigger that somebody disabled stays disabled, and `doctor` reports it. The log names strangers that hold one of our locks.

use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::install;
use super::locks::StrangerWatch;
use crate::database::{Database, DatabaseError};

/// How often a busy table is tried in one round.
const ATTEMPTS: u32 = 5;
/// The time between two tries.
const PAUSE: Duration = Duration::from_millis(160);

/// Discovers at `interval` until `end`.
pub(super) async fn run(database: Database, interval: Duration, end: CancellationToken) {
    let mut connection: Option<Client> = None;
    let mut watch = StrangerWatch::default();
    while !end.is_cancelled() {
        if let Err(error) = round(&database, &mut connection, &mut watch).await {
            tracing::warn!(error = %crate::error_text::chain(&error), "discovery failed and is tried again");
            connection = None;
        }
        tokio::select! { () = sleep(interval) => {} () = end.cancelled() => {} }
    }
}

async fn round(
    database: &Database,
    connection: &mut Option<Client>,
    watch: &mut StrangerWatch,
) -> Result<(), DatabaseError> {
    let mut client = match connection.take() {
        Some(client) if !client.is_closed() => client,
        _ => database.connect().await?.0,
    };
    watch.look(&client).await?;
    let missing = client
        .query_typed(
            "SELECT tbl FROM openregister_webhooks.capturable() WHERE NOT attached OR NOT known",
            &[],
        )
        .await?;
    let mut busy = false;
    for row in missing {
        let table: String = row.get(0);
        let mut attached = Ok(false);
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                // The host has the table for itself for longer than a try can delay it.
                sleep(PAUSE).await;
            }
            attached = install::attach_briefly(&mut client, &table).await;
            if !matches!(attached, Ok(false)) {
                break;
            }
        }
        match attached {
            Ok(true) => tracing::info!(%table, "capturing a table that appeared"),
            Ok(false) => busy = true,
            Err(error) => {
                busy = true;
                tracing::warn!(%table, error = %crate::error_text::chain(&error), "a table cannot be captured yet");
            }
        }
    }
    client
        .query_typed("SELECT openregister_webhooks.attach_hook()", &[])
        .await?;
    if !busy {
        client
            .query_typed("SELECT openregister_webhooks.discovered()", &[])
            .await?;
    }
    *connection = Some(client);
    Ok(())
}
