//! The settings as the program uses them, each valid.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use orw_egress::{AllowedTarget, Guard, Outgoing, Proxies};
use secrecy::SecretString;

use crate::capture::{DoorbellMode, OutboxLimits};
use crate::console::{ConsoleUser, ShownSettings};
use crate::registry::{EventSource, Limits, RetryPolicy};
use crate::telemetry::LogFormat;
use crate::traces::Endpoint;

/// The effective settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `ORW_DATABASE_URL`: Nextcloud's database; a direct connection unless `doorbell` is `Poll`.
    pub database_url: SecretString,
    /// `ORW_DOORBELL` (`notify|poll`): `poll` works behind a transaction-pooling PgBouncer.
    pub doorbell: DoorbellMode,
    /// `ORW_POLL_INTERVAL_MS` (default 250): with `poll`, how often an idle reader looks. With `notify` it looks every 5 s in any case.
    pub poll_interval: Duration,
    /// `ORW_DISCOVERY_INTERVAL_SECONDS` (default 10): how soon a new table is captured that the trigger on `appconfig` did not notice.
    pub discovery_interval: Duration,
    /// `ORW_BATCH_SIZE` (default 1000): the most changes in one transaction of the reader.
    pub batch_size: u32,
    /// `ORW_OUTBOX_POLICY`, `ORW_OUTBOX_MAX_BYTES`, `ORW_OUTBOX_MAX_AGE_SECONDS`.
    pub outbox: OutboxLimits,
    /// `ORW_CAPTURE` (`subscribed|all`).
    pub capture_all: bool,
    /// `ORW_INSTALL_AT_START` (default false): `run` installs or upgrades first.
    pub install_at_start: bool,
    /// `ORW_TABLE_PREFIX` (default `oc_`).
    pub table_prefix: String,
    /// `ORW_HOUSEKEEPING_COLUMNS`: an UPDATE that changes only these columns gives no event. `None`: the list that `lifecycle`
    /// documents.
    pub housekeeping_columns: Option<Vec<String>>,
    /// `ORW_ACTOR_WAIT_MS` (default 500): how long a delivery that needs the user waits for the audit row.
    pub actor_wait: Duration,
    /// `ORW_LISTEN` (default `127.0.0.1:8085`).
    pub listen: SocketAddr,
    /// `ORW_METRICS_LISTEN`.
    pub metrics_listen: Option<SocketAddr>,
    /// `ORW_METRICS_INTERVAL_SECONDS` (default 15): how often what the metrics show of the database is measured.
    pub metrics_interval: Duration,
    /// `ORW_OTLP_ENDPOINT`: the collector of traces; `None`: there are no traces.
    pub otlp_endpoint: Option<Endpoint>,
    /// `ORW_CONSOLE_LISTEN`.
    pub console_listen: Option<SocketAddr>,
    /// `ORW_CONSOLE_USERS_FILE`; not empty if [`Self::console_listen`] is set.
    pub console_users: Vec<ConsoleUser>,
    /// `ORW_NEXTCLOUD_URL`, without a trailing `/`.
    pub nextcloud_url: Option<String>,
    /// `ORW_NEXTCLOUD_TIMEOUT_SECONDS` (default 3600): how long Nextcloud may send nothing while it answers a
    /// forwarded request.
    pub nextcloud_timeout: Duration,
    /// `ORW_TRUSTED_PROXIES`: whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// `ORW_ADMINS` / `ORW_ADMINS_FILE`: `user:password`, the password plain or an argon2id hash (`$argon2id$…`).
    pub admins: Vec<(String, SecretString)>,
    /// `ORW_READERS` / `ORW_READERS_FILE`: the same, for those who may look at the page and change nothing.
    pub readers: Vec<(String, SecretString)>,
    /// `ORW_MASTER_KEY` / `ORW_MASTER_KEY_FILE`: 32 bytes in base64, or several with commas between them.
    pub master_key: Option<SecretString>,
    /// `ORW_TLS_CERT_FILE` and `ORW_TLS_KEY_FILE`: TLS for the API and the console. Both or none.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// `ORW_TARGETS_ALLOW`: networks and host names that the address guard accepts although they are private.
    pub targets_allow: Vec<AllowedTarget>,
    /// `ORW_TARGETS_ALLOW_HTTP`.
    pub targets_allow_http: bool,
    /// `ORW_CA_FILE`: further certificate authorities to trust, PEM.
    pub ca_file: Option<PathBuf>,
    /// `ORW_HTTPS_PROXY`, `ORW_HTTP_PROXY`, `ORW_NO_PROXY`, or else the variables without `ORW_` (those in small letters take
    /// precedence); `ORW_PROXY_CONNECT` (`address|name`).
    pub proxies: Proxies,
    /// `ORW_BIND_ADDRESS`: the local address of outgoing requests.
    pub bind_address: Option<IpAddr>,
    /// `ORW_MAX_IN_FLIGHT` (default 512): requests in flight over all webhooks.
    pub max_in_flight: u32,
    /// `ORW_MAX_BYTES_IN_FLIGHT` (default 8 MiB): the sum of the bodies in flight.
    pub max_bytes_in_flight: u64,
    /// `ORW_CONNECT_TIMEOUT_SECONDS` (default 5).
    pub connect_timeout: Duration,
    /// The limits of a webhook that has none of its own: `ORW_RATE_PER_SECOND` (100), `ORW_RATE_BURST` (200),
    /// `ORW_MAX_IN_FLIGHT_PER_WEBHOOK` (16), `ORW_TIMEOUT_SECONDS` (15).
    pub default_limits: Limits,
    /// `ORW_RETRY_SCHEDULE`: the delays after failed attempts. There is the first attempt, and one more for each delay.
    pub default_retry: RetryPolicy,
    /// Who sends CloudEvents.
    pub event_source: EventSource,
    /// `ORW_CHANGE_RETENTION_DAYS` (default 3): how long changes are kept for `replay`.
    pub change_retention: Duration,
    /// `ORW_LOG_RETENTION_DAYS` (default 30): how long the delivery log is kept.
    pub log_retention: Duration,
    /// `ORW_AUDIT_RETENTION_DAYS` (default 365): how long the record of who changed which registration is kept.
    pub audit_retention: Duration,
    /// `ORW_CHANGE_MAX_BYTES` and `ORW_LOG_MAX_BYTES`: how large each may grow; whole days are dropped beyond it. 0: no limit.
    pub change_max_bytes: u64,
    pub log_max_bytes: u64,
    /// `ORW_LOG`: a filter as `tracing` reads it (default `info`).
    pub log: String,
    /// `ORW_LOG_FORMAT` (`text|json`).
    pub log_format: LogFormat,
    /// Every setting as it may be shown, for the console; empty if the settings come from no source.
    pub shown: ShownSettings,
}

impl Settings {
    /// The default values, with this database. Tests and the demo change what they need. The URL is checked when a connection is made.
    #[must_use]
    pub fn new(database_url: impl Into<String>) -> Self {
        Self {
            database_url: SecretString::from(database_url.into()),
            doorbell: DoorbellMode::default(),
            poll_interval: Duration::from_millis(250),
            discovery_interval: Duration::from_secs(10),
            batch_size: 1000,
            outbox: OutboxLimits::default(),
            capture_all: false,
            install_at_start: false,
            table_prefix: "oc_".to_owned(),
            housekeeping_columns: None,
            actor_wait: Duration::from_millis(500),
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8085),
            metrics_listen: None,
            metrics_interval: Duration::from_secs(15),
            otlp_endpoint: None,
            console_listen: None,
            console_users: Vec::new(),
            nextcloud_url: None,
            nextcloud_timeout: Duration::from_hours(1),
            trusted_proxies: Vec::new(),
            admins: Vec::new(),
            readers: Vec::new(),
            master_key: None,
            tls: None,
            targets_allow: Vec::new(),
            targets_allow_http: false,
            ca_file: None,
            proxies: Proxies::default(),
            bind_address: None,
            max_in_flight: 512,
            max_bytes_in_flight: 8 * 1024 * 1024,
            connect_timeout: Duration::from_secs(5),
            default_limits: Limits::default(),
            default_retry: RetryPolicy::default(),
            event_source: EventSource::default(),
            change_retention: Duration::from_hours(3 * 24),
            log_retention: Duration::from_hours(30 * 24),
            audit_retention: Duration::from_hours(365 * 24),
            change_max_bytes: 0,
            log_max_bytes: 0,
            log: "info".to_owned(),
            log_format: LogFormat::default(),
            shown: ShownSettings::default(),
        }
    }

    /// How requests to receivers are sent.
    #[must_use]
    pub fn outgoing(&self, tls: rustls::ClientConfig) -> Outgoing {
        let guard = Guard::new(self.targets_allow.clone(), self.targets_allow_http);
        Outgoing {
            bind: self.bind_address,
            connect_timeout: self.connect_timeout,
            proxies: self.proxies.clone(),
            max_idle: self.max_in_flight.try_into().unwrap_or(usize::MAX),
            ..Outgoing::new(guard, tls)
        }
    }
}
