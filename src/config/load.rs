//! Turns the sources into valid settings, or into a list of everything that is wrong.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::parse::{self, Parsed};
use super::problem::{ConfigError, Problem};
use super::reader::Reader;
use super::setting::{SETTINGS, Setting, Visibility};
use super::settings::Settings;
use super::sources::{Sources, gather};
use super::values::{Origin, RawSetting};
use crate::capture::OutboxPolicy;
use crate::console::{ConsoleUser, ShownSetting, ShownSettings};
use crate::registry::EventSource;
use orw_egress::NoProxy;

/// The smallest limit of the outbox. The change tables grow to a few times 4 MiB even if everything works, and larger at every big
/// import.
const LEAST_OUTBOX: u64 = 64 * 1024 * 1024;

/// The smallest limit of the kept changes and of the log: the empty partitions of a month take about as much.
const LEAST_KEPT: u64 = 16 * 1024 * 1024;

/// The effective value of a setting, as it may be shown.
#[derive(Debug, Clone)]
pub struct Effective {
    pub setting: &'static Setting,
    /// `None` if the setting has no value. Secrets are masked.
    pub value: Option<String>,
    pub origin: Origin,
}

/// The settings, and the source of each.
#[derive(Debug)]
pub struct Loaded {
    pub settings: Result<Settings, ConfigError>,
    /// In the order of [`SETTINGS`]; complete even if some values are wrong.
    pub effective: Vec<Effective>,
}

impl Settings {
    /// Reads and validates the settings.
    ///
    /// # Errors
    /// A list of everything that is wrong.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        load(sources).settings
    }
}

impl Loaded {
    /// Reads and validates the settings, and keeps what may be shown.
    #[must_use]
    pub fn read(sources: &Sources) -> Self {
        load(sources)
    }
}

fn load(sources: &Sources) -> Loaded {
    let mut problems = Vec::new();
    let values = gather(sources, &mut problems);
    let effective: Vec<Effective> = SETTINGS
        .iter()
        .map(|setting| show(setting, values.get(setting.name)))
        .collect();
    let mut reader = Reader { values, problems };
    let settings = reader.settings().map(|settings| Settings {
        shown: shown(&effective),
        ..settings
    });
    Loaded {
        settings: match settings {
            Some(settings) if reader.problems.is_empty() => Ok(settings),
            _ => Err(ConfigError {
                problems: reader.problems,
            }),
        },
        effective,
    }
}

/// Where the process with these settings answers for its health. Nothing else is read of the settings, so that whoever asks needs no
/// secret; what is wrong with others does not matter.
///
/// # Errors
/// If `ORW_METRICS_LISTEN` is not set, or is no address.
pub(crate) fn metrics_listener(sources: &Sources) -> Result<SocketAddr, ConfigError> {
    const NAME: &str = "ORW_METRICS_LISTEN";
    let mut elsewhere = Vec::new();
    let values = gather(sources, &mut elsewhere);
    let mut reader = Reader {
        values,
        problems: Vec::new(),
    };
    let mut address = None;
    reader.set_some("metrics_listen", &mut address, parse::address);
    match address {
        Some(address) => Ok(address),
        None if reader.problems.is_empty() => {
            let reason = "is not set, so nobody answers for the health: set it to 127.0.0.1:9650, for `run` and for `health`";
            // Perhaps it is not found because the file that has it cannot be read.
            let mut problems = elsewhere;
            problems.push(Problem::new(NAME, reason));
            Err(ConfigError { problems })
        }
        None => Err(ConfigError {
            problems: reader.problems,
        }),
    }
}

/// The settings as the console shows them.
fn shown(effective: &[Effective]) -> ShownSettings {
    effective
        .iter()
        .map(|one| ShownSetting {
            name: one.setting.name,
            value: one.value.clone(),
            origin: one.origin.to_string(),
            about: one.setting.about,
        })
        .collect()
}

fn show(setting: &'static Setting, raw: Option<&RawSetting>) -> Effective {
    let value = raw.map(|raw| match setting.visibility {
        Visibility::Open => raw.text.clone(),
        Visibility::Url => parse::mask_url(&raw.text),
        Visibility::Proxy => parse::mask_proxy(&raw.text),
        Visibility::Secret => "***".to_owned(),
    });
    Effective {
        setting,
        value: value.or_else(|| setting.default.map(str::to_owned)),
        origin: raw.map_or(Origin::Default, |raw| raw.origin.clone()),
    }
}

impl Reader {
    fn settings(&mut self) -> Option<Settings> {
        let mut url = None;
        let as_url = |text: &str| parse::database_url(text.trim()).map(Some);
        self.set_or_file("database_url", "database_url_file", &mut url, as_url, as_url);
        if url.is_none()
            && !self.values.contains_key("database_url")
            && !self.values.contains_key("database_url_file")
        {
            let reason = "is not set; give Nextcloud's database, \
                          postgres://user:password@host:5432/nextcloud (see dbuser, dbname … in config.php)";
            self.problems.push(Problem::new("ORW_DATABASE_URL", reason));
        }
        let mut s = Settings::new(String::new());
        self.capture_settings(&mut s);
        self.api_settings(&mut s);
        self.delivery_settings(&mut s);
        self.retention_settings(&mut s);
        s.database_url = url?;
        Some(s)
    }

    fn capture_settings(&mut self, s: &mut Settings) {
        self.set("doorbell", &mut s.doorbell, parse::doorbell);
        self.set("poll_interval_ms", &mut s.poll_interval, |t| {
            millis(t, 10, 60_000)
        });
        self.set("discovery_interval_seconds", &mut s.discovery_interval, |t| {
            seconds(t, 1, 3_600)
        });
        self.set("batch_size", &mut s.batch_size, |t| parse::number32(t, 1, 10_000));
        self.set("outbox_policy", &mut s.outbox.policy, parse::outbox_policy);
        self.set("outbox_max_bytes", &mut s.outbox.max_bytes, |t| {
            parse::limit(t, LEAST_OUTBOX)
        });
        self.set("outbox_max_age_seconds", &mut s.outbox.max_age, |t| {
            seconds(t, 60, 31_536_000)
        });
        if s.outbox.policy == OutboxPolicy::Stop && s.outbox.max_bytes == 0 {
            self.problems.push(Problem::new(
                "ORW_OUTBOX_MAX_BYTES",
                "is 0 (no limit), but ORW_OUTBOX_POLICY=stop stops at a limit; give one, or set warn",
            ));
        }
        self.set("capture", &mut s.capture_all, parse::capture);
        self.set("install_at_start", &mut s.install_at_start, parse::boolean);
        self.set("table_prefix", &mut s.table_prefix, parse::table_prefix);
        self.set_some(
            "housekeeping_columns",
            &mut s.housekeeping_columns,
            parse::columns,
        );
        self.set("actor_wait_ms", &mut s.actor_wait, |t| millis(t, 0, 60_000));
    }

    fn api_settings(&mut self, s: &mut Settings) {
        self.set("listen", &mut s.listen, parse::address);
        self.set_some("metrics_listen", &mut s.metrics_listen, parse::address);
        self.set("metrics_interval_seconds", &mut s.metrics_interval, |t| {
            seconds(t, 1, 3_600)
        });
        self.set_some("otlp_endpoint", &mut s.otlp_endpoint, |text| {
            crate::traces::Endpoint::parse(text).map_err(|error| error.to_string())
        });
        self.set_some("console_listen", &mut s.console_listen, parse::address);
        self.set_file("console_users_file", &mut s.console_users, ConsoleUser::parse_all);
        if s.console_listen.is_some() && !self.values.contains_key("console_users_file") {
            self.problems.push(Problem::new(
                "ORW_CONSOLE_USERS_FILE",
                "is not set, but ORW_CONSOLE_LISTEN is; name a file with one user:password-or-hash[:role] a line",
            ));
        }
        self.set_some("nextcloud_url", &mut s.nextcloud_url, parse::nextcloud_url);
        self.set("nextcloud_timeout_seconds", &mut s.nextcloud_timeout, |t| {
            seconds(t, 1, 86_400)
        });
        self.set("trusted_proxies", &mut s.trusted_proxies, parse::networks);
        self.set_or_file(
            "admins",
            "admins_file",
            &mut s.admins,
            parse::admins,
            parse::admins_file,
        );
        self.set_or_file(
            "readers",
            "readers_file",
            &mut s.readers,
            parse::admins,
            parse::admins_file,
        );
        if let Some((user, _)) = s
            .readers
            .iter()
            .find(|(user, _)| s.admins.iter().any(|(admin, _)| admin == user))
        {
            self.problems.push(Problem::new(
                "ORW_READERS",
                format!("names {user:?}, which ORW_ADMINS names, too; a user has one role"),
            ));
        }
        let key = |text: &str| parse::master_key(text).map(Some);
        self.set_or_file("master_key", "master_key_file", &mut s.master_key, key, key);
        let path = |text: &str| Ok(PathBuf::from(text));
        let (mut certificate, mut key) = (None, None);
        self.set_some("tls_cert_file", &mut certificate, path);
        self.set_some("tls_key_file", &mut key, path);
        match (certificate, key) {
            (Some(certificate), Some(key)) => s.tls = Some((certificate, key)),
            (None, None) => {}
            (Some(_), None) => self.problems.push(Problem::new(
                "ORW_TLS_KEY_FILE",
                "is not set, but ORW_TLS_CERT_FILE is; name the file of its private key too",
            )),
            (None, Some(_)) => self.problems.push(Problem::new(
                "ORW_TLS_CERT_FILE",
                "is not set, but ORW_TLS_KEY_FILE is; name the file of the certificate too",
            )),
        }
        self.set("log", &mut s.log, parse::log);
        self.set("log_format", &mut s.log_format, parse::log_format);
    }

    fn delivery_settings(&mut self, s: &mut Settings) {
        self.set("targets_allow", &mut s.targets_allow, parse::targets);
        self.set("targets_allow_http", &mut s.targets_allow_http, parse::boolean);
        self.set_some("ca_file", &mut s.ca_file, parse::ca_file);
        let proxies = &mut s.proxies;
        self.set_some("https_proxy", &mut proxies.https, parse::proxy);
        self.set_some("http_proxy", &mut proxies.http, parse::proxy);
        self.set("no_proxy", &mut proxies.no_proxy, NoProxy::parse);
        self.set("proxy_connect", &mut proxies.connect_by, parse::proxy_connect);
        self.set_some("bind_address", &mut s.bind_address, parse::ip);
        self.set("max_in_flight", &mut s.max_in_flight, |t| {
            parse::number32(t, 1, 100_000)
        });
        self.set("max_bytes_in_flight", &mut s.max_bytes_in_flight, |t| {
            parse::number(t, 1 << 20, 1 << 40)
        });
        self.set("connect_timeout_seconds", &mut s.connect_timeout, |t| {
            seconds(t, 1, 60)
        });
        let limits = &mut s.default_limits;
        self.set("max_in_flight_per_webhook", &mut limits.max_in_flight, |t| {
            parse::number32(t, 1, 512)
        });
        self.set("rate_per_second", &mut limits.per_second, |t| {
            parse::number32(t, 1, 10_000)
        });
        self.set("rate_burst", &mut limits.burst, |t| {
            parse::number32(t, 1, 100_000)
        });
        self.set("timeout_seconds", &mut limits.timeout, |t| seconds(t, 1, 300));
        self.set("retry_schedule", &mut s.default_retry, parse::retry);
        self.set_some("oin", &mut s.event_source.oin, EventSource::parse_oin);
        self.set_some("event_source", &mut s.event_source.name, EventSource::parse_name);
    }

    fn retention_settings(&mut self, s: &mut Settings) {
        self.set("change_retention_days", &mut s.change_retention, |t| {
            days(t, 1, 365)
        });
        self.set("change_max_bytes", &mut s.change_max_bytes, |t| {
            parse::limit(t, LEAST_KEPT)
        });
        self.set("log_max_bytes", &mut s.log_max_bytes, |t| {
            parse::limit(t, LEAST_KEPT)
        });
        self.set("log_retention_days", &mut s.log_retention, |t| days(t, 1, 3_650));
        self.set("audit_retention_days", &mut s.audit_retention, |t| {
            days(t, 30, 36_500)
        });
    }
}

fn millis(text: &str, least: u64, most: u64) -> Parsed<Duration> {
    parse::number(text, least, most).map(Duration::from_millis)
}

fn seconds(text: &str, least: u64, most: u64) -> Parsed<Duration> {
    parse::number(text, least, most).map(Duration::from_secs)
}

fn days(text: &str, least: u64, most: u64) -> Parsed<Duration> {
    parse::number(text, least, most).map(|days| Duration::from_hours(24 * days))
}

#[cfg(test)]
mod tests;
