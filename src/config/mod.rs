//! Settings: from environment, TOML file and flags, validated at start.
//!
//! Guarantees: a [`Settings`] is valid in every field; what is wrong is said with its name, the reason and what to do;
//! secrets are in no `Debug` and no error.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

/// The effective settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `ORW_DATABASE_URL`: where Nextcloud's database is; a direct connection unless `doorbell` is `Poll`.
    pub database_url: SecretString,
    /// `ORW_DOORBELL` (`notify|poll`): `poll` serves behind a transaction-pooling PgBouncer.
    pub doorbell: Doorbell,
    /// `ORW_POLL_INTERVAL_MS`: with `poll`, how often an idle reader looks (default 250); with `notify`, the safety
    /// net is 5 s whatever this says.
    pub poll_interval: Duration,
    /// `ORW_DISCOVERY_INTERVAL_SECONDS` (default 10): how soon a table that appeared unseen is captured.
    pub discovery_interval: Duration,
    /// `ORW_BATCH_SIZE` (default 1000): changes a transaction of the reader.
    pub batch_size: u32,
    /// `ORW_CAPTURE` (`subscribed|all`).
    pub capture_all: bool,
    /// `ORW_TABLE_PREFIX` (default `oc_`).
    pub table_prefix: String,
    /// `ORW_LISTEN` (default `127.0.0.1:8085`).
    pub listen: SocketAddr,
    /// `ORW_METRICS_LISTEN`.
    pub metrics_listen: Option<SocketAddr>,
    /// `ORW_CONSOLE_LISTEN`.
    pub console_listen: Option<SocketAddr>,
    /// `ORW_NEXTCLOUD_URL`.
    pub nextcloud_url: Option<String>,
    /// `ORW_ADMINS` / `ORW_ADMINS_FILE`: `user:password`, the password plain or an argon2id hash (`$argon2id$…`).
    pub admins: Vec<(String, SecretString)>,
    /// `ORW_MASTER_KEY` / `ORW_MASTER_KEY_FILE`: 32 bytes in base64.
    pub master_key: Option<SecretString>,
    /// `ORW_TARGETS_ALLOW`: networks and host names that the address guard lets through.
    pub targets_allow: Vec<AllowedTarget>,
    /// `ORW_TARGETS_ALLOW_HTTP`.
    pub targets_allow_http: bool,
    /// `ORW_CA_FILE`: more roots to trust, PEM.
    pub ca_file: Option<PathBuf>,
    /// `ORW_BIND_ADDRESS`: the local address of outgoing requests.
    pub bind_address: Option<std::net::IpAddr>,
    /// `ORW_MAX_IN_FLIGHT` (default 512): requests in flight over all webhooks.
    pub max_in_flight: u32,
    /// `ORW_LOG`: a filter as `tracing` reads it (default `info`).
    pub log: String,
    /// `ORW_LOG_FORMAT` (`text|json`).
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Doorbell {
    #[default]
    Notify,
    Poll,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// An exception of the address guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedTarget {
    Network(IpNet),
    /// A host name, lower case, without a trailing dot.
    Host(String),
}
