//! Why the sidecar does not start, or ends by itself.

use std::net::SocketAddr;

use crate::capture::InstallError;
use crate::database::DatabaseError;
use crate::listener_tls::TlsFileError;
use crate::ocs::AuthError;
use crate::proxy::BadUrl;
use crate::random::NoRandom;
use crate::registry::RegistryError;
use crate::supervise::KeepsFailing;
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
    Install(#[from] InstallError),
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error(transparent)]
    Nextcloud(#[from] BadUrl),
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
    #[error(transparent)]
    ListenerTls(#[from] TlsFileError),
    #[error(
        "cannot listen on {address}: {source}; set ORW_LISTEN, ORW_METRICS_LISTEN or ORW_CONSOLE_LISTEN to an address of this machine that is free"
    )]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "a transaction-pooling PgBouncer is between this machine and the database: name the server itself (its own port, usually 5432) \
         in ORW_DATABASE_URL, or set ORW_DOORBELL=poll"
    )]
    Pooled,
    #[error(
        "the PgBouncer between this machine and the database does not keep prepared statements: set its max_prepared_statements (1.21 or \
         later), or name the server itself in ORW_DATABASE_URL"
    )]
    PooledStatements,
    #[error(
        "ORW_INSTALL_AT_START cannot be used through a transaction-pooling PgBouncer: give the server itself with ORW_DATABASE_URL, or \
         leave the setting out and run `openregister-webhooks install` with a direct connection"
    )]
    PooledInstall,
    #[error("the routes contradict each other: {0}")]
    Routes(#[from] matchit::InsertError),
    #[error(
        "traces cannot be sent: {0}; change the variables OTEL_EXPORTER_OTLP_… of the environment, or leave them out"
    )]
    Traces(String),
    #[error(transparent)]
    KeepsFailing(#[from] KeepsFailing),
}
