//! Installing into Nextcloud's database and leaving it again.
//!
//! Guarantees: both may be run at any time and any number of times; one at a time (advisory lock); neither makes a writer
//! wait longer than the 50 ms for which a lock is asked; what is registered and what is pending survives an upgrade. The
//! SQL is the same that a DBA can run with `psql -f sql/install.sql`.

use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::locks;
use super::migrations::MIGRATIONS;

const ENCODING: &str = include_str!("../../sql/encoding.sql");
const OWNERSHIP: &str = include_str!("../../sql/ownership.sql");
const BOOTSTRAP: &str = include_str!("../../sql/bootstrap.sql");
const FUNCTIONS: &str = include_str!("../../sql/functions.sql");

/// How often a busy table is asked for before it is left to discovery.
const ATTEMPTS: u32 = 40;

/// What install is asked for.
#[derive(Debug, Clone)]
pub struct InstallOptions {
    /// `ORW_TABLE_PREFIX`.
    pub table_prefix: String,
    /// A role that exists already and will run the sidecar; `None`: the role that owns the tables.
    pub runtime_role: Option<String>,
    /// `ORW_CAPTURE=all`.
    pub capture_all: bool,
}

/// What install did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The migrations that were applied now.
    pub migrations: Vec<String>,
    /// The tables that are captured.
    pub captured: Vec<String>,
    /// Tables that stayed busy; discovery goes on trying.
    pub busy: Vec<String>,
}

/// Why nothing was installed, or not everything uninstalled.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error(
        "there is no table {0}appconfig in this database: is ORW_DATABASE_URL Nextcloud's database, and ORW_TABLE_PREFIX the \
         dbtableprefix of its config.php?"
    )]
    NotNextcloud(String),
    #[error(
        "{user} may not act for {owner}, who owns Nextcloud's tables: connect as {owner}, or run as a superuser: GRANT {owner} TO {user}"
    )]
    NotOwner { user: String, owner: String },
    #[error(
        "{owner} may not create a schema here; run as a superuser: GRANT CREATE ON DATABASE {database} TO {owner}"
    )]
    NoCreate { owner: String, database: String },
    #[error("there is no role {0}; create it first: CREATE ROLE {0} LOGIN PASSWORD '…'")]
    NoRole(String),
    #[error(
        "the schema openregister_webhooks is of version {found}, this program knows {known}: run the newer program, or restore the \
         older schema from a backup"
    )]
    Newer { found: i32, known: i32 },
    #[error("PostgreSQL {0} is too old: 14 or later is needed")]
    TooOld(String),
    #[error("these tables stayed busy: {0}; nothing else was changed, run it again")]
    Busy(String),
    #[error("another installation is at work in this database{0}; run it again when that has ended")]
    AtWork(String),
    #[error("{what}; {remedy}")]
    Encoding { what: String, remedy: String },
    #[error("{what}; {remedy}")]
    Foreign { what: String, remedy: String },
    #[error(transparent)]
    Query(#[from] tokio_postgres::Error),
}

/// What in the schema is neither a superuser's nor that of the role that owns Nextcloud's tables, and what to do about it. Asks
/// the catalogs alone: nothing of the schema is run. `None` also where there are no such tables in the search path.
pub(crate) async fn foreign_objects(
    client: &Client,
    table_prefix: &str,
) -> Result<Option<(String, String)>, tokio_postgres::Error> {
    let path = search_path(client).await?;
    // In a transaction that is never committed: also through a pooler nothing is left behind.
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
        Err(error) => foreign(error).map(Some),
    }
}

/// The schemas that names without one are looked up in.
async fn search_path(client: &Client) -> Result<Vec<String>, tokio_postgres::Error> {
    let rows = client
        .query_typed("SELECT pg_catalog.current_schemas(false)::pg_catalog.text[]", &[])
        .await?;
    Ok(rows.first().map(|row| row.get(0)).unwrap_or_default())
}

/// What the check of the ownership raised.
fn foreign(error: tokio_postgres::Error) -> Result<(String, String), tokio_postgres::Error> {
    raised(error, "ORW01")
}

/// The message and the hint of an error that one of our own checks raised with this SQLSTATE.
fn raised(error: tokio_postgres::Error, state: &str) -> Result<(String, String), tokio_postgres::Error> {
    match error.as_db_error().filter(|e| e.code().code() == state) {
        Some(raised) => Ok((
            raised.message().to_owned(),
            raised.hint().unwrap_or_default().to_owned(),
        )),
        None => Err(error),
    }
}

/// The version of the schema that this program installs.
pub(crate) const fn known_version() -> i32 {
    MIGRATIONS[MIGRATIONS.len() - 1].version
}

/// Whether the schema is there, and at least as new as this program needs it.
pub(super) async fn is_current(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let there = "SELECT pg_catalog.to_regclass('openregister_webhooks.migration') IS NOT NULL";
    if !client
        .query_typed(there, &[])
        .await?
        .first()
        .is_some_and(|r| r.get(0))
    {
        return Ok(false);
    }
    let newest = "SELECT coalesce(max(version), 0) FROM openregister_webhooks.migration";
    let rows = client.query_typed(newest, &[]).await?;
    Ok(rows
        .first()
        .is_some_and(|r| r.get::<_, i32>(0) >= known_version()))
}

/// Installs or upgrades. `progress` is told each table as it is done.
///
/// # Errors
/// See [`InstallError`]; what was done before stays done, and running it again goes on from there.
pub async fn install(
    client: &mut Client,
    options: &InstallOptions,
    mut progress: impl FnMut(&str, bool) + Send,
) -> Result<Installed, InstallError> {
    let migrations = install_schema(client, options).await?;
    client.batch_execute("SET statement_timeout = '10s'").await?;
    let mut captured = Vec::new();
    let mut busy = Vec::new();
    for row in client
        .query("SELECT tbl FROM openregister_webhooks.capturable()", &[])
        .await?
    {
        let table: String = row.get(0);
        let done = attach(client, &table, ATTEMPTS).await?;
        progress(&table, done);
        if done { &mut captured } else { &mut busy }.push(table);
    }
    // One table a transaction: an upgrade of Nextcloud that alters several of them must not meet ours half way.
    for (tables, statement) in [
        (
            "SELECT tbl FROM openregister_webhooks.lookups()",
            "SELECT openregister_webhooks.grant_lookup($1)",
        ),
        (
            "SELECT tbl FROM openregister_webhooks.outdated_lookups()",
            "SELECT openregister_webhooks.revoke_lookup($1)",
        ),
    ] {
        for row in client.query(tables, &[]).await? {
            let table: String = row.get(0);
            if patiently(client, ATTEMPTS, statement, &[&table]).await?.is_none() && !busy.contains(&table) {
                busy.push(table);
            }
        }
    }
    patiently(
        client,
        ATTEMPTS,
        "SELECT openregister_webhooks.attach_hook()",
        &[],
    )
    .await?;
    client
        .execute(
            "SELECT openregister_webhooks.set_capture_all($1)",
            &[&options.capture_all],
        )
        .await?;
    if busy.is_empty() {
        client
            .execute("SELECT openregister_webhooks.discovered()", &[])
            .await?;
    }
    client
        .batch_execute("RESET ROLE; RESET statement_timeout; RESET search_path")
        .await?;
    Ok(Installed {
        migrations,
        captured,
        busy,
    })
}

/// The part of install that is one transaction: schema, functions, rights.
async fn install_schema(client: &mut Client, options: &InstallOptions) -> Result<Vec<String>, InstallError> {
    let tx = client.transaction().await?;
    tx.batch_execute("SET LOCAL lock_timeout = '10s'; SET LOCAL client_min_messages = warning")
        .await?;
    let locked = tx
        .execute("SELECT pg_catalog.pg_advisory_xact_lock($1)", &[&locks::INSTALL])
        .await;
    if let Err(error) = locked {
        drop(tx);
        return Err(at_work(client, error).await);
    }
    let version: String = tx.query_one("SHOW server_version", &[]).await?.get(0);
    let number: i32 = tx
        .query_one("SELECT current_setting('server_version_num')::int", &[])
        .await?
        .get(0);
    if number < 140_000 {
        return Err(InstallError::TooOld(version));
    }
    if let Err(error) = tx.batch_execute(ENCODING).await {
        let (what, remedy) = raised(error, "ORW02")?;
        return Err(InstallError::Encoding { what, remedy });
    }
    let appconfig = format!("{}appconfig", options.table_prefix);
    // Where Nextcloud's tables are is for the search path to say; from then on nothing but PostgreSQL's own functions and
    // operators is found without its schema's name.
    let path = search_path(tx.client()).await?;
    tx.batch_execute("SET search_path = pg_catalog, pg_temp").await?;
    let host = tx
        .query_opt(
            "SELECT n.nspname::text, o.rolname::text, current_user::text, current_database()::text, \
                    pg_has_role(c.relowner, 'MEMBER'), has_database_privilege(current_database(), 'CREATE'), \
                    has_database_privilege(o.rolname, current_database(), 'CREATE') \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles o ON o.oid = c.relowner \
             WHERE c.relname = $1::text AND n.nspname = ANY ($2::text[]) ORDER BY array_position($2::text[], n.nspname::text) LIMIT 1",
            &[&appconfig, &path],
        )
        .await?
        .ok_or_else(|| InstallError::NotNextcloud(options.table_prefix.clone()))?;
    let (schema, owner, user, database): (String, String, String, String) =
        (host.get(0), host.get(1), host.get(2), host.get(3));
    if !host.get::<_, bool>(4) {
        return Err(InstallError::NotOwner { user, owner });
    }
    if let Some(role) = &options.runtime_role {
        tx.query_opt("SELECT FROM pg_roles WHERE rolname = $1", &[role])
            .await?
            .ok_or_else(|| InstallError::NoRole(role.clone()))?;
    }
    let exists = tx
        .query_opt(
            "SELECT FROM pg_namespace WHERE nspname = 'openregister_webhooks'",
            &[],
        )
        .await?
        .is_some();
    if !exists && !host.get::<_, bool>(5) && !host.get::<_, bool>(6) {
        return Err(InstallError::NoCreate { owner, database });
    }
    let quoted = quote(&owner);
    if user != owner {
        if !exists && host.get::<_, bool>(5) {
            tx.batch_execute(&format!(
                "CREATE SCHEMA openregister_webhooks AUTHORIZATION {quoted}"
            ))
            .await?;
        }
        tx.batch_execute(&format!("SET ROLE {quoted}")).await?;
    }
    if !exists && (user == owner || !host.get::<_, bool>(5)) {
        // Not IF NOT EXISTS: one that appeared since would be a stranger's.
        tx.batch_execute("CREATE SCHEMA openregister_webhooks").await?;
    }
    if let Err(error) = tx.batch_execute(OWNERSHIP).await {
        let (what, remedy) = foreign(error)?;
        return Err(InstallError::Foreign { what, remedy });
    }
    tx.batch_execute(BOOTSTRAP).await?;
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
    tx.batch_execute(FUNCTIONS).await?;
    tx.execute(
        "UPDATE openregister_webhooks.settings SET detaching = false, host_schema = $1, table_prefix = $2, runtime_role = coalesce($3, runtime_role)",
        &[&schema, &options.table_prefix, &options.runtime_role],
    )
    .await?;
    tx.execute("SELECT openregister_webhooks.grant_runtime()", &[])
        .await?;
    tx.commit().await?;
    Ok(applied)
}

/// Puts the trigger on one table; `false` where it stayed busy or is gone. What the table holds becomes changes, unless
/// that takes longer than the connection's statement timeout: then a gap is recorded.
pub(super) async fn attach(
    client: &Client,
    table: &str,
    attempts: u32,
) -> Result<bool, tokio_postgres::Error> {
    let attach = "SELECT openregister_webhooks.attach($1, $2)";
    let row = match patiently(client, attempts, attach, &[&table, &true]).await {
        Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
            patiently(client, attempts, attach, &[&table, &false]).await?
        }
        done => done?,
    };
    Ok(row.is_some_and(|r| r.get(0)))
}

/// The same while the system runs, once, in a transaction that has 200 ms: what a table holds is copied under its lock, and
/// rather a gap is recorded than a host kept waiting. The limit is the transaction's alone: through a pooler the session
/// is somebody else's the next moment.
pub(super) async fn attach_briefly(client: &mut Client, table: &str) -> Result<bool, tokio_postgres::Error> {
    for copy in [true, false] {
        let tx = client.transaction().await?;
        tx.batch_execute("SET LOCAL statement_timeout = '200ms'").await?;
        let attach = "SELECT openregister_webhooks.attach($1, $2)";
        match tx
            .query_typed(attach, &[(&table, Type::TEXT), (&copy, Type::BOOL)])
            .await
        {
            Ok(rows) => {
                tx.commit().await?;
                return Ok(rows.first().is_some_and(|r| r.get(0)));
            }
            Err(error) if is_busy(&error) => return Ok(false),
            Err(error) if copy && error.code() == Some(&SqlState::QUERY_CANCELED) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Takes everything back: triggers table by table, rights, the schema. `progress` is told each table.
///
/// # Errors
/// [`InstallError::Busy`] before the schema is dropped, where a table stayed busy.
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
        return Err(at_work(client, error).await);
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
            .batch_execute(&format!("SET ROLE {}", quote(owner.get(0))))
            .await?;
    }
    client
        .execute("UPDATE openregister_webhooks.settings SET detaching = true", &[])
        .await?;
    // Twice: an attach that began before may have ended after the first look.
    for _ in 0..2 {
        each_table(
            client,
            "SELECT c.relname::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid \
             JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace \
             WHERE n.nspname = 'openregister_webhooks' ORDER BY t.tgname DESC",
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
    // No trigger is left: whoever still writes to our tables is our own reader, which the drop may wait for.
    client.batch_execute("SET lock_timeout = '30s'; SET client_min_messages = warning; DROP SCHEMA openregister_webhooks CASCADE; RESET lock_timeout; RESET client_min_messages; RESET ROLE; RESET search_path").await?;
    client
        .execute("SELECT pg_advisory_unlock($1)", &[&locks::INSTALL])
        .await?;
    Ok(())
}

/// The lock was not to be had: says who has it.
async fn at_work(client: &Client, error: tokio_postgres::Error) -> InstallError {
    if error.code() != Some(&SqlState::LOCK_NOT_AVAILABLE) {
        return error.into();
    }
    match locks::holders(client, locks::INSTALL).await {
        Ok(holders) => InstallError::AtWork(
            holders
                .first()
                .map_or_else(String::new, |holder| format!(", or {holder} holds its lock")),
        ),
        Err(error) => error.into(),
    }
}

/// Runs `statement` for each table that `tables` names; busy ones are an error at the end.
async fn each_table(
    client: &Client,
    tables: &str,
    statement: &str,
    mut progress: impl FnMut(&str, bool) + Send,
) -> Result<(), InstallError> {
    let mut busy = Vec::new();
    for row in client.query(tables, &[]).await? {
        let table: String = row.get(0);
        let done = patiently(client, ATTEMPTS, statement, &[&table]).await?.is_some();
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

/// Runs `statement` until its lock is free, and gives its row; `None` where it never was. Between two tries the host has
/// the table for itself for longer than a try can hold it up.
async fn patiently(
    client: &Client,
    attempts: u32,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Option<Row>, tokio_postgres::Error> {
    for attempt in 1..=attempts {
        match client.query_one(statement, parameters).await {
            Ok(row) => return Ok(Some(row)),
            Err(error) if is_busy(&error) => {
                let pause = Duration::from_millis(150 + u64::from(attempt) * 10);
                tokio::time::sleep(pause).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Whether the lock was not to be had in time, or taking it would have been a deadlock.
fn is_busy(error: &tokio_postgres::Error) -> bool {
    matches!(error.code(), Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::T_R_DEADLOCK_DETECTED)
}

/// An identifier as SQL wants it.
fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
