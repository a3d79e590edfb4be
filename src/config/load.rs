//! From what was given to valid settings, or to everything that is wrong.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::Settings;
use super::parse::{self, Parsed};
use super::setting::{SETTINGS, Setting, Visibility};
use super::sources::{Origin, RawSetting, Sources, Values, gather};
use crate::capture::OutboxPolicy;
use orw_egress::NoProxy;

/// The change tables grow to a few of these 4 MiB in the best of health, and beyond that at every larger import.
const LEAST_OUTBOX: u64 = 64 * 1024 * 1024;

/// Less than this is less than the empty partitions of a month take.
const LEAST_KEPT: u64 = 16 * 1024 * 1024;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The name as it was given: a variable, a key, a flag or a file.
    pub name: String,
    /// What is wrong and what to do.
    pub reason: String,
}

impl Problem {
    pub(super) fn new(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

/// Everything that is wrong with the settings.
#[derive(Debug, thiserror::Error)]
#[error("the settings are not usable:{}", .problems.iter().map(|p| format!("\n  {p}")).collect::<String>())]
pub struct ConfigError {
    pub problems: Vec<Problem>,
}

/// A setting as it is in effect, fit to be shown.
#[derive(Debug, Clone)]
pub struct Effective {
    pub setting: &'static Setting,
    /// `None` where there is none; secrets are masked.
    pub value: Option<String>,
    pub origin: Origin,
}

/// The settings, and where each came from.
#[derive(Debug)]
pub struct Loaded {
    pub settings: Result<Settings, ConfigError>,
    /// In the order of [`SETTINGS`]; also where some are wrong.
    pub effective: Vec<Effective>,
}

impl Settings {
    /// Reads and validates.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        load(sources).settings
    }
}

impl Loaded {
    /// Reads and validates, and keeps what there is to show.
    #[must_use]
    pub fn read(sources: &Sources) -> Self {
        load(sources)
    }
}

fn load(sources: &Sources) -> Loaded {
    let mut problems = Vec::new();
    let values = gather(sources, &mut problems);
    let effective = SETTINGS
        .iter()
        .map(|setting| show(setting, values.get(setting.name)))
        .collect();
    let mut reader = Reader { values, problems };
    let settings = reader.settings();
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

fn show(setting: &'static Setting, given: Option<&RawSetting>) -> Effective {
    let value = given.map(|given| match setting.visibility {
        Visibility::Open => given.text.clone(),
        Visibility::Url => parse::mask_url(&given.text),
        Visibility::Proxy => parse::mask_proxy(&given.text),
        Visibility::Secret => "***".to_owned(),
    });
    Effective {
        setting,
        value: value.or_else(|| setting.default.map(str::to_owned)),
        origin: given.map_or(Origin::Default, |given| given.origin.clone()),
    }
}

/// Parses values one by one and collects what is wrong.
struct Reader {
    values: Values,
    problems: Vec<Problem>,
}

impl Reader {
    /// Sets `field` to what was given for `name`, if anything was.
    fn set<T>(&mut self, name: &'static str, field: &mut T, parse: impl Fn(&str) -> Parsed<T>) {
        let Some(given) = self.values.get(name) else {
            return;
        };
        match parse(&given.text) {
            Ok(value) => *field = value,
            Err(reason) => self
                .problems
                .push(Problem::new(origin_name(name, &given.origin), reason)),
        }
    }

    fn set_some<T>(&mut self, name: &'static str, field: &mut Option<T>, parse: impl Fn(&str) -> Parsed<T>) {
        self.set(name, field, |text| parse(text).map(Some));
    }

    /// Sets `field` from the value, or from the file that `file` names; both at once is a mistake.
    fn set_or_file<T>(
        &mut self,
        name: &'static str,
        file: &'static str,
        field: &mut T,
        parse: impl Fn(&str) -> Parsed<T>,
        parse_file: impl Fn(&str) -> Parsed<T>,
    ) {
        if let (Some(a), Some(b)) = (self.values.get(name), self.values.get(file)) {
            let (a, b) = (origin_name(name, &a.origin), origin_name(file, &b.origin));
            self.problems
                .push(Problem::new(a, format!("is given, and {b} too; leave one out")));
            return;
        }
        self.set(name, field, parse);
        self.set(file, field, |path| {
            let text = read_secret(Path::new(path))?;
            parse_file(&text)
        });
    }

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
        self.capture(&mut s);
        self.faces(&mut s);
        self.delivery(&mut s);
        s.database_url = url?;
        Some(s)
    }

    fn capture(&mut self, s: &mut Settings) {
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
        self.set("table_prefix", &mut s.table_prefix, parse::table_prefix);
        self.set_some(
            "housekeeping_columns",
            &mut s.housekeeping_columns,
            parse::columns,
        );
        self.set("actor_wait_ms", &mut s.actor_wait, |t| millis(t, 0, 60_000));
        self.set("change_retention_days", &mut s.change_retention, |t| {
            days(t, 1, 365)
        });
    }

    fn faces(&mut self, s: &mut Settings) {
        self.set("listen", &mut s.listen, parse::address);
        self.set_some("metrics_listen", &mut s.metrics_listen, parse::address);
        self.set_some("console_listen", &mut s.console_listen, parse::address);
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
        let key = |text: &str| parse::master_key(text).map(Some);
        self.set_or_file("master_key", "master_key_file", &mut s.master_key, key, key);
        let path = |text: &str| Ok(std::path::PathBuf::from(text));
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

    fn delivery(&mut self, s: &mut Settings) {
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

/// The name under which a value was given.
fn origin_name(name: &str, origin: &Origin) -> String {
    match origin {
        Origin::File(path) => format!("{name} in {}", path.display()),
        other => other.to_string(),
    }
}

fn read_secret(path: &Path) -> Parsed<String> {
    std::fs::read_to_string(path).map_err(|error| {
        format!(
            "{} cannot be read: {error}; check the path and its owner",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests;
