//! The names of all settings, once.

/// Who may see a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    Open,
    /// A connection string: all but the password.
    Url,
    /// The URL of a proxy: all but user and password.
    Proxy,
    /// Nobody; such a setting is no flag either, because every user of the machine sees a process's flags.
    Secret,
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The key in the TOML file; `ORW_` and upper case in the environment; `--` and dashes as a flag.
    pub name: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    /// What holds where it is not given; as one would write it.
    pub default: Option<&'static str>,
    pub visibility: Visibility,
}

impl Setting {
    /// `ORW_DATABASE_URL`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("ORW_{}", self.name.to_uppercase())
    }

    /// `database-url`; `None` for what must not be a flag.
    #[must_use]
    pub fn flag(&self) -> Option<String> {
        (self.visibility != Visibility::Secret).then(|| self.name.replace('_', "-"))
    }

    /// The setting of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }
}

const fn open(name: &'static str, default: Option<&'static str>, about: &'static str) -> Setting {
    Setting {
        name,
        about,
        default,
        visibility: Visibility::Open,
    }
}

const fn hidden(name: &'static str, visibility: Visibility, about: &'static str) -> Setting {
    Setting {
        name,
        about,
        default: None,
        visibility,
    }
}

/// Every setting, in the order in which `config` lists them.
pub const SETTINGS: &[Setting] = &[
    hidden(
        "database_url",
        Visibility::Url,
        "Nextcloud's database: postgres://user:password@host:5432/nextcloud",
    ),
    open(
        "database_url_file",
        None,
        "A file with the connection string, instead of it",
    ),
    open(
        "doorbell",
        Some("notify"),
        "notify, or poll (behind a transaction-pooling PgBouncer)",
    ),
    open(
        "poll_interval_ms",
        Some("250"),
        "With poll, how often an idle reader looks",
    ),
    open(
        "discovery_interval_seconds",
        Some("10"),
        "How soon a table that appeared unseen is captured",
    ),
    open("batch_size", Some("1000"), "Changes a transaction of the reader"),
    open(
        "outbox_policy",
        Some("warn"),
        "warn, or stop: capture no more beyond outbox_max_bytes, and record the gap",
    ),
    open(
        "outbox_max_bytes",
        Some("10737418240"),
        "How large the outbox may grow while nobody reads it; 0: no limit",
    ),
    open(
        "outbox_max_age_seconds",
        Some("3600"),
        "How old an unread change may grow; warned of from a quarter on",
    ),
    open(
        "capture",
        Some("subscribed"),
        "subscribed: kinds that a webhook names; all: every kind",
    ),
    open("table_prefix", Some("oc_"), "Nextcloud's dbtableprefix"),
    open(
        "housekeeping_columns",
        None,
        "Columns whose change alone gives no event, comma-separated",
    ),
    open(
        "actor_wait_ms",
        Some("500"),
        "How long to wait for the audit row that says who did it",
    ),
    open("listen", Some("127.0.0.1:8085"), "Where the API is served"),
    open("metrics_listen", None, "Where metrics and health are served"),
    open(
        "console_listen",
        None,
        "Where the SQL console will be served; not built yet, and refused by run",
    ),
    open(
        "nextcloud_url",
        None,
        "Nextcloud, for everything that is not ours; without it: standalone",
    ),
    open(
        "nextcloud_timeout_seconds",
        Some("3600"),
        "How long Nextcloud may say nothing to a request that was passed on",
    ),
    open(
        "trusted_proxies",
        None,
        "Networks whose X-Forwarded-For is believed, comma-separated",
    ),
    hidden(
        "admins",
        Visibility::Secret,
        "Standalone administrators: user:password[,user:password]",
    ),
    open(
        "admins_file",
        None,
        "A file with one user:password a line, instead of admins",
    ),
    hidden(
        "master_key",
        Visibility::Secret,
        "Encrypts secrets at rest: 32 bytes in base64",
    ),
    open(
        "master_key_file",
        None,
        "A file with the master key, instead of it",
    ),
    open(
        "tls_cert_file",
        None,
        "TLS for the API: certificate and chain, PEM; read again when it changes",
    ),
    open(
        "tls_key_file",
        None,
        "TLS for the API: the certificate's private key, PEM",
    ),
    open(
        "targets_allow",
        None,
        "Private networks and host names that webhooks may go to, comma-separated",
    ),
    open(
        "targets_allow_http",
        Some("false"),
        "Whether webhooks may go to http:// (true or false)",
    ),
    open("ca_file", None, "More certificate authorities to trust, PEM"),
    hidden(
        "https_proxy",
        Visibility::Proxy,
        "The proxy to https:// receivers: http://user:password@proxy:3128; else HTTPS_PROXY",
    ),
    hidden(
        "http_proxy",
        Visibility::Proxy,
        "The proxy to http:// receivers; else HTTP_PROXY",
    ),
    open(
        "no_proxy",
        None,
        "Hosts, .suffixes and networks that no proxy is asked for, comma-separated; else NO_PROXY",
    ),
    open(
        "proxy_connect",
        Some("address"),
        "What proxies are asked for: address (looked up and vetted here) or name (left to the proxy)",
    ),
    open("bind_address", None, "The local address of outgoing requests"),
    open(
        "max_in_flight",
        Some("512"),
        "Requests in flight over all webhooks",
    ),
    open(
        "max_bytes_in_flight",
        Some("67108864"),
        "Bytes of bodies in flight over all webhooks",
    ),
    open(
        "max_in_flight_per_webhook",
        Some("16"),
        "Requests in flight to one webhook",
    ),
    open("rate_per_second", Some("100"), "Requests a second to one webhook"),
    open(
        "rate_burst",
        Some("200"),
        "Requests to one webhook that may come at once",
    ),
    open(
        "connect_timeout_seconds",
        Some("5"),
        "How long a connection to a receiver may take",
    ),
    open(
        "timeout_seconds",
        Some("15"),
        "How long a request may take in all",
    ),
    open(
        "retry_schedule",
        Some("5s,30s,2m,10m,1h,3h,6h,12h,24h,24h"),
        "The delays after failed attempts, comma-separated",
    ),
    open(
        "change_retention_days",
        Some("3"),
        "How long changes are kept for replay",
    ),
    open(
        "log_retention_days",
        Some("30"),
        "How long the delivery log is kept, and so are ended jobs, told gaps and the quarantine",
    ),
    open(
        "audit_retention_days",
        Some("365"),
        "How long it is kept who changed which webhook; at least 30",
    ),
    open(
        "change_max_bytes",
        Some("0"),
        "How large the changes kept for replay may grow; 0: no limit",
    ),
    open(
        "log_max_bytes",
        Some("0"),
        "How large the delivery log may grow; 0: no limit",
    ),
    open(
        "log",
        Some("info"),
        "What is logged: a level, or target=level, comma-separated",
    ),
    open("log_format", Some("text"), "text or json"),
];
