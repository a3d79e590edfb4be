//! The sidecar as a whole: its parts are made here, started under a supervisor, and ended.

mod deliver;
mod faces;
mod ground;
mod intake;
mod upkeep;

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use self::ground::Ground;
use crate::config::Settings;
use crate::database::DatabaseError;
use crate::ocs::{AuthError, TlsFileError};
use crate::proxy::BadUrl;
use crate::random::NoRandom;
use crate::registry::RegistryError;
use crate::supervise::{KeepsFailing, Policy, Supervisor, ending};
use orw_egress::TlsError;

/// Why the sidecar did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error(transparent)]
    Nextcloud(#[from] BadUrl),
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
    #[error(transparent)]
    ListenerTls(#[from] TlsFileError),
    #[error(
        "cannot listen on {address}: {source}; set ORW_LISTEN or ORW_METRICS_LISTEN to an address of this machine that is free"
    )]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "a transaction-pooling PgBouncer sits between this machine and the database: give the server itself (its own port, usually 5432) \
         with ORW_DATABASE_URL, or set ORW_DOORBELL=poll"
    )]
    Pooled,
    #[error(
        "the PgBouncer between this machine and the database does not keep prepared statements: set its max_prepared_statements (1.21 or \
         later), or give the server itself with ORW_DATABASE_URL"
    )]
    PooledStatements,
    #[error("the routes contradict each other: {0}")]
    Routes(#[from] matchit::InsertError),
    #[error(transparent)]
    KeepsFailing(#[from] KeepsFailing),
}

/// Runs until `shutdown`, then ends: no new work, what is in flight is finished or handed back.
///
/// # Errors
/// Where something that it needs at start is missing; once it runs, it waits for what goes away, and ends by itself only
/// where a part of it keeps failing.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), RunError> {
    let ground = Ground::new(settings).await?;
    let mut supervisor = Supervisor::new(ground.board.clone(), Policy::default(), shutdown);
    faces::start(&ground, &mut supervisor).await?;
    intake::start(&ground, &mut supervisor);
    deliver::start(&ground, &mut supervisor)?;
    upkeep::start(&ground, &mut supervisor);
    tracing::info!(listen = %ground.settings.listen, version = env!("CARGO_PKG_VERSION"), "openregister-webhooks runs");
    Ok(supervisor.run(ending::WHOLE).await?)
}
