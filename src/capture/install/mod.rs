//! Installing into Nextcloud's database, and uninstalling.
//!
//! Guarantees: both may be run at any time and any number of times; only one runs at a time (advisory lock); neither makes a
//! writer wait longer than the 50 ms for which a lock is requested; an upgrade keeps registrations and pending deliveries. A DBA
//! can run the same SQL with `psql -f sql/install.sql`.

mod attach;
mod error;
mod identifier;
mod lock;
mod migrations;
mod ownership;
mod schema;
mod uninstall;
mod version;

use tokio_postgres::Client;

pub(super) use attach::attach_briefly;
use attach::{ATTEMPTS, attach, retry_while_busy};
pub use error::{InstallError, InstallOptions, Installed};
pub(crate) use ownership::foreign_objects;
use schema::install_schema;
pub use uninstall::uninstall;
pub(super) use version::is_current;
pub(crate) use version::known_version;

/// Installs or upgrades. Calls `progress` with each table and whether it is captured now.
///
/// # Errors
/// See [`InstallError`]. What was done before stays done, and a second run continues from there.
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
    // One transaction for each table: a transaction of several could deadlock with an upgrade of Nextcloud that alters them.
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
            if retry_while_busy(client, ATTEMPTS, statement, &[&table])
                .await?
                .is_none()
                && !busy.contains(&table)
            {
                busy.push(table);
            }
        }
    }
    retry_while_busy(
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
