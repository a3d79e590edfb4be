//! Finds tables that appeared without their trigger, and puts it on.
//!
//! The hook on `appconfig` catches a magic table before its first row; discovery is the net under it, at start and then at
//! an interval. What a table held when it was found becomes Created events, up to 10,000 rows; beyond that a gap is
//! recorded. A trigger that somebody disabled stays disabled: `doctor` names it.

use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::install;
use crate::db::{Database, DbError};

/// How often a busy table is asked for before the next round.
const ATTEMPTS: u32 = 5;

/// Discovers at `interval` until `end`.
pub(super) async fn run(database: Database, interval: Duration, end: CancellationToken) {
    let mut connection: Option<Client> = None;
    while !end.is_cancelled() {
        if let Err(error) = round(&database, &mut connection).await {
            tracing::warn!(error = %crate::text::chain(&error), "discovery failed and is tried again");
            connection = None;
        }
        tokio::select! { () = sleep(interval) => {} () = end.cancelled() => {} }
    }
}

async fn round(database: &Database, connection: &mut Option<Client>) -> Result<(), DbError> {
    let client = match connection.take() {
        Some(client) if !client.is_closed() => client,
        _ => {
            let (client, _) = database.connect().await?;
            // A table's rows are copied under its lock: rather a gap than a host that waits.
            client.batch_execute("SET statement_timeout = '200ms'").await?;
            client
        }
    };
    let missing = client
        .query_typed(
            "SELECT tbl FROM openregister_webhooks.capturable() WHERE NOT attached OR NOT known",
            &[],
        )
        .await?;
    let mut busy = false;
    for row in missing {
        let table: String = row.get(0);
        match install::attach(&client, &table, ATTEMPTS).await {
            Ok(true) => tracing::info!(%table, "capturing a table that appeared"),
            Ok(false) => busy = true,
            Err(error) => {
                busy = true;
                tracing::warn!(%table, error = %crate::text::chain(&error), "a table cannot be captured yet");
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
