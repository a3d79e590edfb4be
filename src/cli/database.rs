//! The database that the settings name, and connections to it. If there is no connection, the message explains why.

use std::process::ExitCode;

use tokio_postgres::Client;

use super::args::SettingsArgs;
use super::failure::Failure;
use super::output;
use crate::config::Settings;
use crate::database::Database;
use crate::doctor;

/// Runs a command that needs the settings, and prints what went wrong.
pub(super) fn command<F>(given: SettingsArgs, run: impl FnOnce(Settings) -> F) -> anyhow::Result<ExitCode>
where
    F: Future<Output = Result<ExitCode, Failure>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = match Settings::load(&given.sources()) {
        Ok(settings) => runtime.block_on(run(settings)),
        Err(error) => Err(error.into()),
    };
    Ok(done.unwrap_or_else(|failure| {
        output::print_failure(&failure);
        failure.code()
    }))
}

/// The database of these settings. It does not connect.
pub(super) fn database(settings: &Settings) -> Result<Database, Failure> {
    let tls = orw_egress::client_config(settings.ca_file.as_deref())?;
    Ok(Database::new(&settings.database_url, tls)?)
}

/// Connects.
///
/// # Errors
/// What `doctor` would say if there is no connection.
pub(super) async fn connect(database: &Database) -> Result<Client, Failure> {
    match database.connect().await {
        Ok((client, _)) => Ok(client),
        Err(error) => Err(Failure::Explained(Box::new(doctor::explain(
            &error,
            &database.target(),
        )))),
    }
}

/// Connects for a task that must not be done through a transaction pooler: a `SET ROLE` or an advisory lock would stay in a session
/// that Nextcloud uses next.
pub(super) async fn connect_direct(database: &Database, task: &str) -> Result<Client, Failure> {
    let client = connect(database).await?;
    if doctor::is_pooled(database).await? {
        return Err(Failure::Usage(format!(
            "{task} cannot be done through a transaction-pooling PgBouncer; give the server itself with ORW_DATABASE_URL \
             for this command (PostgreSQL's own port, usually 5432)"
        )));
    }
    Ok(client)
}
