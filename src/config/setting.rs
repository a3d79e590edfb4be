//! The one list of all settings: name, default value, explanation, and who may see the value.

/// Who may see a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    Open,
    /// A connection string: everything except the password.
    Url,
    /// The URL of a proxy: everything except user and password.
    Proxy,
    /// Nobody. Such a setting has no flag either, because every user of the machine can see the flags of a process.
    Secret,
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The key in the TOML file. The variable is `ORW_` and the name in capitals, the flag is `--` and the name with dashes.
    pub name: &'static str,
    /// One line of explanation.
    pub about: &'static str,
    /// The default value, as an administrator would write it.
    pub default: Option<&'static str>,
    pub visibility: Visibility,
}

impl Setting {
    /// The name of the variable, such as `ORW_DATABASE_URL`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("ORW_{}", self.name.to_uppercase())
    }

    /// The name of the flag, such as `database-url`; `None` for a secret.
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
        "A file with the connection string, instead of database_url",
    ),
    open(
        "doorbell",
        Some("notify"),
        "How the reader learns of changes: notify, or poll (behind a transaction-pooling PgBouncer)",
    ),
    open(
        "poll_interval_ms",
        Some("250"),
        "With doorbell=poll: how often an idle reader looks for changes",
    ),
    open(
        "discovery_interval_seconds",
        Some("10"),
        "How soon a new table is captured that the trigger on appconfig did not notice",
    ),
    open(
        "batch_size",
        Some("1000"),
        "The most changes in one transaction of the reader",
    ),
    open(
        "outbox_policy",
        Some("warn"),
        "warn, or stop: capture nothing more beyond outbox_max_bytes, and record the gap",
    ),
    open(
        "outbox_max_bytes",
        Some("10737418240"),
        "How large the outbox may grow while nobody reads it; 0: no limit",
    ),
    open(
        "outbox_max_age_seconds",
        Some("3600"),
        "How old the oldest unread change may become; warnings begin at a quarter of it",
    ),
    open(
        "capture",
        Some("subscribed"),
        "What is captured: subscribed (the kinds that a webhook names) or all (every kind)",
    ),
    open(
        "install_at_start",
        Some("false"),
        "Whether run installs or upgrades first, for which it needs the role that owns Nextcloud's tables (true or false)",
    ),
    open("table_prefix", Some("oc_"), "Nextcloud's dbtableprefix"),
    open(
        "housekeeping_columns",
        None,
        "Columns: an update that changes only these gives no event; comma-separated",
    ),
    open(
        "actor_wait_ms",
        Some("500"),
        "How long a delivery waits for the audit row that names the user",
    ),
    open("listen", Some("127.0.0.1:8085"), "The address of the API"),
    open("metrics_listen", None, "The address of metrics and health"),
    open(
        "metrics_interval_seconds",
        Some("15"),
        "How often outbox, queue and receivers are measured in the database for the metrics",
    ),
    open(
        "otlp_endpoint",
        None,
        "The collector that takes traces by OTLP over HTTP: http://collector:4318; without it there are none",
    ),
    open(
        "console_listen",
        None,
        "The address of the SQL console (psql); needs console_users_file",
    ),
    open(
        "console_users_file",
        None,
        "A file with the console's users, one user:password-or-hash[:reader|operator] per line",
    ),
    open(
        "nextcloud_url",
        None,
        "Nextcloud, which answers every other request; without this setting: standalone",
    ),
    open(
        "nextcloud_timeout_seconds",
        Some("3600"),
        "How long Nextcloud may take without sending a byte to answer a forwarded request",
    ),
    open(
        "trusted_proxies",
        None,
        "Networks whose X-Forwarded-For is trusted, comma-separated",
    ),
    hidden(
        "admins",
        Visibility::Secret,
        "Standalone administrators: user:password[,user:password]",
    ),
    open(
        "admins_file",
        None,
        "A file with one user:password per line, instead of admins",
    ),
    hidden(
        "readers",
        Visibility::Secret,
        "Standalone: who may look at the page and change nothing: user:password[,user:password]",
    ),
    open(
        "readers_file",
        None,
        "A file with one user:password per line, instead of readers",
    ),
    hidden(
        "master_key",
        Visibility::Secret,
        "The key that encrypts secrets at rest: 32 random bytes in base64, or at least 48 random hexadecimal digits",
    ),
    open(
        "master_key_file",
        None,
        "A file with the master key, instead of master_key",
    ),
    open(
        "tls_cert_file",
        None,
        "TLS for the API and the console: certificate and chain, PEM; read again when the file changes",
    ),
    open(
        "tls_key_file",
        None,
        "TLS for the API and the console: the certificate's private key, PEM",
    ),
    open(
        "targets_allow",
        None,
        "Private networks and host names that webhooks may be sent to, comma-separated",
    ),
    open(
        "targets_allow_http",
        Some("false"),
        "Whether webhooks may be sent to http:// (true or false)",
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
        "Hosts, .suffixes and networks that are reached without a proxy, comma-separated; else NO_PROXY",
    ),
    open(
        "proxy_connect",
        Some("address"),
        "What a proxy connects to: address (resolved and checked here) or name (resolved by the proxy)",
    ),
    open("bind_address", None, "The local address of outgoing requests"),
    open(
        "max_in_flight",
        Some("512"),
        "The most requests in flight over all webhooks",
    ),
    open(
        "max_bytes_in_flight",
        Some("8388608"),
        "The most bytes of request bodies in flight over all webhooks",
    ),
    open(
        "max_in_flight_per_webhook",
        Some("16"),
        "The most requests in flight to one webhook",
    ),
    open(
        "rate_per_second",
        Some("100"),
        "The most requests per second to one webhook",
    ),
    open(
        "rate_burst",
        Some("200"),
        "The most requests to one webhook in a burst",
    ),
    open(
        "connect_timeout_seconds",
        Some("5"),
        "How long connecting to a receiver may take",
    ),
    open("timeout_seconds", Some("15"), "How long a whole request may take"),
    open(
        "retry_schedule",
        Some("5s,30s,2m,10m,1h,3h,6h,12h,24h,24h"),
        "The delays after failed attempts, comma-separated",
    ),
    open(
        "oin",
        None,
        "The organisation's OIN (20 digits), for the source of events in the format nlgov",
    ),
    open(
        "event_source",
        None,
        "The name of the system that events come from: source in the formats cloudevents and nlgov",
    ),
    open(
        "change_retention_days",
        Some("3"),
        "How long changes are kept for replay",
    ),
    open(
        "log_retention_days",
        Some("30"),
        "How long the delivery log, ended jobs, gaps that consumers know of and the quarantine are kept",
    ),
    open(
        "audit_retention_days",
        Some("365"),
        "How long the record of who changed which webhook is kept; at least 30",
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
    open("log_format", Some("text"), "How the log is written: text or json"),
];
