//! Whether everything in the schema belongs to the role that owns Nextcloud's tables.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use super::error::InstallError;

/// Raises [`FOREIGN`] if something in the schema belongs to somebody else.
const OWNERSHIP: &str = include_str!("../../../sql/ownership.sql");
/// The SQLSTATE that `sql/ownership.sql` raises.
const FOREIGN: &str = "ORW01";

/// Finds what in the schema belongs neither to a superuser nor to the role that owns Nextcloud's tables: a description and the
/// remedy. Reads PostgreSQL's catalogs only and runs nothing of the schema. `None` also if Nextcloud's tables are not in the
/// search path.
pub(crate) async fn foreign_objects(
    client: &Client,
    table_prefix: &str,
) -> Result<Option<(String, String)>, tokio_postgres::Error> {
    let path = search_path(client).await?;
    // In a transaction that is never committed, so that nothing stays with the session, also behind a pooler.
    client
        .batch_execute("BEGIN READ ONLY; SET LOCAL search_path = pg_catalog, pg_temp")
        .await?;
    let checked = async {
        let host = client
            .query_typed(
                "SELECT set_config('openregister_webhooks.owner', pg_get_userbyid(c.relowner), true) \
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relname = $1 AND n.nspname = ANY ($2::text[]::name[]) ORDER BY array_position($2::text[], n.nspname::text) LIMIT 1",
                &[
                    (&format!("{table_prefix}appconfig"), Type::TEXT),
                    (&path, Type::TEXT_ARRAY),
                ],
            )
            .await?;
        if host.is_empty() {
            return Ok(());
        }
        client.batch_execute(OWNERSHIP).await
    };
    let checked = checked.await;
    client.batch_execute("ROLLBACK").await?;
    match checked {
        Ok(()) => Ok(None),
        Err(error) => raised(error, FOREIGN).map(Some),
    }
}

/// The schemas in which the session looks up a name that has none.
pub(super) async fn search_path(client: &Client) -> Result<Vec<String>, tokio_postgres::Error> {
    let rows = client
        .query_typed("SELECT pg_catalog.current_schemas(false)::pg_catalog.text[]", &[])
        .await?;
    Ok(rows.first().map(|row| row.get(0)).unwrap_or_default())
}

/// Fails if something in the schema belongs to somebody else than the role that this transaction acts as, or a superuser.
pub(super) async fn check(tx: &Transaction<'_>) -> Result<(), InstallError> {
    if let Err(error) = tx.batch_execute(OWNERSHIP).await {
        let (what, remedy) = raised(error, FOREIGN)?;
        return Err(InstallError::Foreign { what, remedy });
    }
    Ok(())
}

/// The message and the hint of an error that one of our own SQL checks raised with this SQLSTATE; any other error as it is.
pub(super) fn raised(
    error: tokio_postgres::Error,
    state: &str,
) -> Result<(String, String), tokio_postgres::Error> {
    match error.as_db_error().filter(|e| e.code().code() == state) {
        Some(raised) => Ok((
            raised.message().to_owned(),
            raised.hint().unwrap_or_default().to_owned(),
        )),
        None => Err(error),
    }
}
