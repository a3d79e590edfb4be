//! Uninstalling: triggers, rights, schema.

use tokio_postgres::Client;

use super::attach::{ATTEMPTS, retry_while_busy};
use super::error::InstallError;
use super::identifier::quoted;
use super::lock;
use crate::capture::locks;

/// Removes everything: triggers table by table, rights, the schema. Calls `progress` with each table and whether its trigger is
/// gone.
///
/// # Errors
/// [`InstallError::Busy`] if a table stayed busy; the schema is then still there.
pub async fn uninstall(
    client: &Client,
    mut progress: impl FnMut(&str, bool) + Send,
) -> Result<(), InstallError> {
    client
        .batch_execute("SET search_path = pg_catalog, pg_temp")
        .await?;
    client.batch_execute("SET lock_timeout = '10s'").await?;
    if let Err(error) = client
        .execute("SELECT pg_advisory_lock($1)", &[&locks::INSTALL])
        .await
    {
        return Err(lock::refused(client, error).await);
    }
    client.batch_execute("RESET lock_timeout").await?;
    let owner = client
        .query_opt(
            "SELECT pg_get_userbyid(nspowner)::text, current_user::text FROM pg_namespace WHERE nspname = 'openregister_webhooks'",
            &[],
        )
        .await?;
    let Some(owner) = owner else {
        client
            .execute("SELECT pg_advisory_unlock($1)", &[&locks::INSTALL])
            .await?;
        return Ok(());
    };
    if owner.get::<_, String>(0) != owner.get::<_, String>(1) {
        client
            .batch_execute(&format!("SET ROLE {}", quoted(owner.get(0))))
            .await?;
    }
    client
        .execute("UPDATE openregister_webhooks.settings SET detaching = true", &[])
        .await?;
    // Those of our own tables go with the schema.
    // Twice: an attach that began before `detaching` was set may have ended after the first look.
    for _ in 0..2 {
        each_table(
            client,
            "SELECT c.relname::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid \
             JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace \
             WHERE n.nspname = 'openregister_webhooks' AND c.relnamespace <> n.oid ORDER BY t.tgname DESC",
            "SELECT openregister_webhooks.detach($1)",
            &mut progress,
        )
        .await?;
    }
    each_table(
        client,
        "SELECT DISTINCT tbl FROM openregister_webhooks.granted",
        "SELECT openregister_webhooks.revoke_lookup($1)",
        |_, _| {},
    )
    .await?;
    // No trigger is left, so only our own reader still writes to our tables: the DROP may wait for it.
    client.batch_execute("SET lock_timeout = '30s'; SET client_min_messages = warning; DROP SCHEMA openregister_webhooks CASCADE; RESET lock_timeout; RESET client_min_messages; RESET ROLE; RESET search_path").await?;
    client
        .execute("SELECT pg_advisory_unlock($1)", &[&locks::INSTALL])
        .await?;
    Ok(())
}

/// Runs `statement` for each table that the query `tables` returns. Fails at the end if some stayed busy.
async fn each_table(
    client: &Client,
    tables: &str,
    statement: &str,
    mut progress: impl FnMut(&str, bool) + Send,
) -> Result<(), InstallError> {
    let mut busy = Vec::new();
    for row in client.query(tables, &[]).await? {
        let table: String = row.get(0);
        let done = retry_while_busy(client, ATTEMPTS, statement, &[&table])
            .await?
            .is_some();
        progress(&table, done);
        if !done {
            busy.push(table);
        }
    }
    if busy.is_empty() {
        Ok(())
    } else {
        Err(InstallError::Busy(busy.join(", ")))
    }
}
