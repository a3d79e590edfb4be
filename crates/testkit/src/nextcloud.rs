//! Databases as Nextcloud has them: owned by an unprivileged role, with the tables of a generation of OpenRegister.

use tokio_postgres::{Client, NoTls};

use crate::Generation;
use crate::postgres::{PrivatePostgres, SUPERUSER};

/// The unprivileged role that owns Nextcloud's database and tables, as in a real installation.
pub const OWNER: &str = "nextcloud";
/// Its password, which is needed over TCP only.
pub const OWNER_PASSWORD: &str = "nextcloud-password";

/// The role or the database could not be created.
#[derive(Debug, thiserror::Error)]
#[error("{step} failed: {source}")]
pub struct NextcloudError {
    step: String,
    source: tokio_postgres::Error,
}

/// Creates the role [`OWNER`].
///
/// # Errors
/// If it exists already.
pub async fn create_owner(postgres: &PrivatePostgres) -> Result<(), NextcloudError> {
    let dba = connect(&postgres.url(SUPERUSER, "postgres")).await?;
    run(
        &dba,
        &format!("CREATE ROLE {OWNER} LOGIN PASSWORD '{OWNER_PASSWORD}'"),
    )
    .await
}

/// Creates a database that the role owns, with the tables and the seed rows of a generation, or empty.
///
/// # Errors
/// If it exists already.
pub async fn create_database(
    postgres: &PrivatePostgres,
    name: &str,
    generation: Option<Generation>,
) -> Result<(), NextcloudError> {
    let dba = connect(&postgres.url(SUPERUSER, "postgres")).await?;
    run(
        &dba,
        &format!("CREATE DATABASE {name} OWNER {OWNER} TEMPLATE template0"),
    )
    .await?;
    if let Some(generation) = generation {
        let owner = connect(&postgres.url(OWNER, name)).await?;
        run(&owner, generation.tables()).await?;
        run(&owner, generation.seed()).await?;
    }
    Ok(())
}

async fn connect(url: &str) -> Result<Client, NextcloudError> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls)
            .await
            .map_err(|source| NextcloudError {
                step: "connecting to the private PostgreSQL".to_owned(),
                source,
            })?;
    tokio::spawn(connection);
    Ok(client)
}

async fn run(client: &Client, sql: &str) -> Result<(), NextcloudError> {
    client.batch_execute(sql).await.map_err(|source| NextcloudError {
        step: sql.lines().next().unwrap_or_default().to_owned(),
        source,
    })
}
