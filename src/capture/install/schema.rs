//! The part of install that is one transaction: checks, schema, migrations, functions, rights.

use tokio_postgres::{Client, Transaction};

use super::error::{InstallError, InstallOptions};
use super::identifier::quoted;
use super::lock;
use super::migrations::MIGRATIONS;
use super::ownership::{self, raised, search_path};
use super::version::known_version;
use crate::capture::locks;

const ENCODING: &str = include_str!("../../../sql/encoding.sql");
const BOOTSTRAP: &str = include_str!("../../../sql/bootstrap.sql");
const FUNCTIONS: &str = include_str!("../../../sql/functions.sql");

/// The oldest server that is supported, as `server_version_num` says it.
const OLDEST_SERVER: i32 = 140_000;

/// Installs or upgrades the schema. Returns the migrations that were applied, such as `0001 capture`. Afterwards the session acts
/// as the owner of Nextcloud's tables and searches `pg_catalog` alone.
pub(super) async fn install_schema(
    client: &mut Client,
    options: &InstallOptions,
) -> Result<Vec<String>, InstallError> {
    let tx = client.transaction().await?;
    tx.batch_execute("SET LOCAL lock_timeout = '10s'; SET LOCAL client_min_messages = warning")
        .await?;
    let locked = tx
        .execute("SELECT pg_catalog.pg_advisory_xact_lock($1)", &[&locks::INSTALL])
        .await;
    if let Err(error) = locked {
        drop(tx);
        return Err(lock::refused(client, error).await);
    }
    check_server(&tx).await?;
    let host = Nextcloud::find(&tx, &options.table_prefix).await?;
    if let Some(role) = &options.runtime_role {
        tx.query_opt("SELECT FROM pg_roles WHERE rolname = $1", &[role])
            .await?
            .ok_or_else(|| InstallError::NoRole(role.clone()))?;
    }
    create_schema(&tx, &host).await?;
    ownership::check(&tx).await?;
    tx.batch_execute(BOOTSTRAP).await?;
    let applied = migrate(&tx).await?;
    tx.batch_execute(FUNCTIONS).await?;
    tx.execute(
        "UPDATE openregister_webhooks.settings SET detaching = false, host_schema = $1, table_prefix = $2, runtime_role = coalesce($3, runtime_role)",
        &[&host.schema, &options.table_prefix, &options.runtime_role],
    )
    .await?;
    tx.execute("SELECT openregister_webhooks.grant_runtime()", &[])
        .await?;
    tx.commit().await?;
    Ok(applied)
}

/// Checks the server's version and the database's encoding.
async fn check_server(tx: &Transaction<'_>) -> Result<(), InstallError> {
    let version: String = tx.query_one("SHOW server_version", &[]).await?.get(0);
    let number: i32 = tx
        .query_one("SELECT current_setting('server_version_num')::int", &[])
        .await?
        .get(0);
    if number < OLDEST_SERVER {
        return Err(InstallError::TooOld(version));
    }
    if let Err(error) = tx.batch_execute(ENCODING).await {
        let (what, remedy) = raised(error, "ORW02")?;
        return Err(InstallError::Encoding { what, remedy });
    }
    Ok(())
}

/// Where Nextcloud's tables are, who owns them, and who asks.
struct Nextcloud {
    schema: String,
    owner: String,
    user: String,
    database: String,
    /// Whether `user` may create a schema in this database.
    user_may_create: bool,
    /// Whether `owner` may.
    owner_may_create: bool,
}

impl Nextcloud {
    /// Finds the tables by the session's search path. From then on the transaction finds nothing but PostgreSQL's own functions
    /// and operators without a schema's name.
    async fn find(tx: &Transaction<'_>, table_prefix: &str) -> Result<Self, InstallError> {
        let appconfig = format!("{table_prefix}appconfig");
        let path = search_path(tx.client()).await?;
        tx.batch_execute("SET search_path = pg_catalog, pg_temp").await?;
        let row = tx
            .query_opt(
                "SELECT n.nspname::text, o.rolname::text, current_user::text, current_database()::text, \
                        pg_has_role(c.relowner, 'MEMBER'), has_database_privilege(current_database(), 'CREATE'), \
                        has_database_privilege(o.rolname, current_database(), 'CREATE') \
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles o ON o.oid = c.relowner \
                 WHERE c.relname = $1::text AND n.nspname = ANY ($2::text[]) ORDER BY array_position($2::text[], n.nspname::text) LIMIT 1",
                &[&appconfig, &path],
            )
            .await?
            .ok_or_else(|| InstallError::NotNextcloud(table_prefix.to_owned()))?;
        let (owner, user): (String, String) = (row.get(1), row.get(2));
        if !row.get::<_, bool>(4) {
            return Err(InstallError::NotOwner { user, owner });
        }
        Ok(Self {
            schema: row.get(0),
            owner,
            user,
            database: row.get(3),
            user_may_create: row.get(5),
            owner_may_create: row.get(6),
        })
    }
}

/// Creates the schema if it is missing, for the owner of Nextcloud's tables, and acts as that owner from then on.
async fn create_schema(tx: &Transaction<'_>, host: &Nextcloud) -> Result<(), InstallError> {
    let exists = tx
        .query_opt(
            "SELECT FROM pg_namespace WHERE nspname = 'openregister_webhooks'",
            &[],
        )
        .await?
        .is_some();
    if !exists && !host.user_may_create && !host.owner_may_create {
        return Err(InstallError::NoCreate {
            owner: host.owner.clone(),
            database: host.database.clone(),
        });
    }
    if host.user != host.owner {
        let owner = quoted(&host.owner);
        if !exists && host.user_may_create {
            tx.batch_execute(&format!(
                "CREATE SCHEMA openregister_webhooks AUTHORIZATION {owner}"
            ))
            .await?;
        }
        tx.batch_execute(&format!("SET ROLE {owner}")).await?;
    }
    if !exists && (host.user == host.owner || !host.user_may_create) {
        // Not IF NOT EXISTS: a schema that appeared since the look would be somebody else's.
        tx.batch_execute("CREATE SCHEMA openregister_webhooks").await?;
    }
    Ok(())
}

/// Applies the migrations that the schema does not have yet.
async fn migrate(tx: &Transaction<'_>) -> Result<Vec<String>, InstallError> {
    let found: i32 = tx
        .query_one(
            "SELECT coalesce(max(version), 0) FROM openregister_webhooks.migration",
            &[],
        )
        .await?
        .get(0);
    let known = known_version();
    if found > known {
        return Err(InstallError::Newer { found, known });
    }
    let mut applied = Vec::new();
    for migration in MIGRATIONS.iter().filter(|m| m.version > found) {
        tx.batch_execute(migration.sql).await?;
        tx.execute(
            "INSERT INTO openregister_webhooks.migration (version, name) VALUES ($1, $2)",
            &[&migration.version, &migration.name],
        )
        .await?;
        applied.push(format!("{:04} {}", migration.version, migration.name));
    }
    Ok(applied)
}
