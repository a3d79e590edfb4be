//! How each kind of value is written. An error says what the value should look like and never quotes a secret.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use tokio_postgres::Config;
use zeroize::Zeroizing;

use orw_egress::{AllowedTarget, ConnectBy, ProxyUrl};

use crate::capture::{DoorbellMode, OutboxPolicy};
use crate::registry::RetryPolicy;
use crate::telemetry::LogFormat;

/// A value, or what is wrong with the text and what would be right.
pub(super) type Parsed<T> = Result<T, String>;

pub(super) fn database_url(text: &str) -> Parsed<SecretString> {
    const LOOKS: &str = "it looks like postgres://user:password@host:5432/nextcloud";
    for word in ["verify-full", "verify-ca", "sslrootcert"] {
        if text.contains(word) {
            return Err(format!(
                "{word} is not used here: with sslmode=require the server's certificate is always verified, \
                 against the system's roots and ORW_CA_FILE"
            ));
        }
    }
    // The parser's message may quote the text, and with it the password.
    let config = Config::from_str(text).map_err(|_| format!("is not a connection string; {LOOKS}"))?;
    if config.get_hosts().is_empty() {
        return Err(format!("names no host; {LOOKS}"));
    }
    if config.get_dbname().is_none() {
        return Err(format!("names no database; {LOOKS}"));
    }
    Ok(SecretString::from(text))
}

/// A connection string without its password.
pub(super) fn mask_url(text: &str) -> String {
    use tokio_postgres::config::Host;
    let Ok(config) = Config::from_str(text) else {
        return "***".to_owned();
    };
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .zip(
            config
                .get_ports()
                .iter()
                .map(Some)
                .chain(std::iter::repeat(config.get_ports().first())),
        )
        .map(|(host, port)| {
            let host = match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            };
            port.map_or(host.clone(), |port| format!("{host}:{port}"))
        })
        .collect();
    let password = if config.get_password().is_some() {
        ":***"
    } else {
        ""
    };
    format!(
        "postgres://{}{password}@{}/{}",
        config.get_user().unwrap_or_default(),
        hosts.join(","),
        config.get_dbname().unwrap_or_default()
    )
}

pub(super) fn doorbell(text: &str) -> Parsed<DoorbellMode> {
    match text {
        "notify" => Ok(DoorbellMode::Notify),
        "poll" => Ok(DoorbellMode::Poll),
        _ => Err(format!("must be notify or poll, not {text:?}")),
    }
}

pub(super) fn outbox_policy(text: &str) -> Parsed<OutboxPolicy> {
    match text {
        "warn" => Ok(OutboxPolicy::Warn),
        "stop" => Ok(OutboxPolicy::Stop),
        _ => Err(format!("must be warn or stop, not {text:?}")),
    }
}

/// A number of bytes; 0 means no limit.
pub(super) fn limit(text: &str, least: u64) -> Parsed<u64> {
    match text.parse() {
        Ok(0) => Ok(0),
        Ok(bytes) if (least..=1 << 50).contains(&bytes) => Ok(bytes),
        _ => Err(format!(
            "must be 0 (no limit) or a number of bytes from {least} to {}, not {text:?}",
            1_u64 << 50
        )),
    }
}

pub(super) fn capture(text: &str) -> Parsed<bool> {
    match text {
        "subscribed" => Ok(false),
        "all" => Ok(true),
        _ => Err(format!("must be subscribed or all, not {text:?}")),
    }
}

pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("must be text or json, not {text:?}")),
    }
}

pub(super) fn boolean(text: &str) -> Parsed<bool> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("must be true or false, not {text:?}")),
    }
}

/// A whole number from `least` to `most`.
pub(super) fn number(text: &str, least: u64, most: u64) -> Parsed<u64> {
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!(
            "must be a whole number from {least} to {most}, not {text:?}"
        )),
    }
}

pub(super) fn number32(text: &str, least: u32, most: u32) -> Parsed<u32> {
    let number = number(text, least.into(), most.into())?;
    Ok(u32::try_from(number).unwrap_or(most))
}

pub(super) fn address(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| {
        format!("must be an address and a port such as 127.0.0.1:8085 or [::]:8085, not {text:?}")
    })
}

pub(super) fn ip(text: &str) -> Parsed<IpAddr> {
    text.parse()
        .map_err(|_| format!("must be an address of this machine such as 192.0.2.7, not {text:?}"))
}

pub(super) fn nextcloud_url(text: &str) -> Parsed<String> {
    let wrong =
        || format!("must look like https://cloud.example.org or https://example.org/nextcloud, not {text:?}");
    if text.contains('@') {
        return Err("must have no user or password in it; callers' own credentials are passed on".to_owned());
    }
    let uri = hyper::Uri::from_str(text).map_err(|_| wrong())?;
    let good =
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && uri.query().is_none();
    if good {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err(wrong())
    }
}

pub(super) fn table_prefix(text: &str) -> Parsed<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if text.len() <= 20 && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "must be Nextcloud's dbtableprefix, small letters, digits and _, not {text:?}"
    ))
}

pub(super) fn columns(text: &str) -> Parsed<Vec<String>> {
    Ok(list(text).map(str::to_owned).collect())
}

pub(super) fn networks(text: &str) -> Parsed<Vec<IpNet>> {
    list(text)
        .map(|item| {
            network(item).ok_or_else(|| format!("{item:?} is not an address or a network such as 10.0.0.0/8"))
        })
        .collect()
}

pub(super) fn targets(text: &str) -> Parsed<Vec<AllowedTarget>> {
    list(text).map(target).collect()
}

fn target(item: &str) -> Parsed<AllowedTarget> {
    if let Some(network) = network(item) {
        return Ok(AllowedTarget::Network(network));
    }
    let host = item.strip_suffix('.').unwrap_or(item).to_lowercase();
    let label = |label: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.len() <= 63 && label.chars().all(plain)
    };
    if host.len() <= 253 && !host.contains('/') && host.split('.').all(label) {
        return Ok(AllowedTarget::Host(host));
    }
    Err(format!(
        "{item:?} is neither a network such as 10.1.0.0/16 nor a whole host name such as hooks.intranet.example \
         (no port, no path, no *)"
    ))
}

fn network(item: &str) -> Option<IpNet> {
    IpNet::from_str(item)
        .ok()
        .or_else(|| IpAddr::from_str(item).ok().map(IpNet::from))
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// `user:password,user:password`. A piece without a colon belongs to the password before it, because the hashes of
/// argon2id have commas.
pub(super) fn admins(text: &str) -> Parsed<Vec<(String, SecretString)>> {
    let mut entries: Vec<(String, Zeroizing<String>)> = Vec::new();
    for piece in text.split(',') {
        match (piece.split_once(':'), entries.last_mut()) {
            (Some((user, password)), _) => {
                entries.push((user.trim().to_owned(), Zeroizing::new(password.to_owned())));
            }
            (None, Some((_, password))) => {
                password.push(',');
                password.push_str(piece);
            }
            (None, None) => return Err("must be user:password[,user:password]".to_owned()),
        }
    }
    finish_admins(entries)
}

/// One `user:password` per line; empty lines and lines that begin with `#` are ignored.
pub(super) fn admins_file(text: &str) -> Parsed<Vec<(String, SecretString)>> {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entries = lines.map(|line| {
        let (user, password) = line
            .split_once(':')
            .ok_or("must have user:password in every line")?;
        Ok((user.trim().to_owned(), Zeroizing::new(password.to_owned())))
    });
    finish_admins(entries.collect::<Parsed<_>>()?)
}

fn finish_admins(entries: Vec<(String, Zeroizing<String>)>) -> Parsed<Vec<(String, SecretString)>> {
    let mut admins: Vec<(String, SecretString)> = Vec::new();
    for (user, password) in entries {
        if user.is_empty() || password.is_empty() {
            return Err("must have a user and a password in every entry, user:password".to_owned());
        }
        if password.starts_with('$') && !password.starts_with("$argon2id$") {
            return Err(format!(
                "has for {user:?} a hash that is not argon2id; hashes begin with $argon2id$"
            ));
        }
        if admins.iter().any(|(other, _)| *other == user) {
            return Err(format!("names {user:?} twice"));
        }
        admins.push((user, SecretString::from(password.as_str())));
    }
    Ok(admins)
}

/// One key, or several with commas between them. The first encrypts; all decrypt.
pub(super) fn master_key(text: &str) -> Parsed<SecretString> {
    let keys = text
        .split(',')
        .map(|key| one_key(key.trim()))
        .collect::<Parsed<Vec<_>>>()?;
    let keys: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
    Ok(SecretString::from(keys.join(",")))
}

/// A key in base64. Places that make secrets by themselves, such as Nextcloud All-in-One, make them of hexadecimal digits: 48 of them
/// are 192 random bits, from which a key of the right length is made by a hash. No text is both: 32 bytes in base64 end with `=`.
fn one_key(text: &str) -> Parsed<Zeroizing<String>> {
    const LEAST_DIGITS: usize = 48;
    if text.len() >= LEAST_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let key = Sha256::new()
            .chain_update(b"openregister-webhooks master key\0")
            .chain_update(text)
            .finalize();
        return Ok(Zeroizing::new(STANDARD.encode(key)));
    }
    match STANDARD.decode(text).map(Zeroizing::new) {
        Ok(bytes) if bytes.len() == 32 => Ok(Zeroizing::new(text.to_owned())),
        Ok(bytes) => Err(format!(
            "has {} bytes, not 32; make one with: openssl rand -base64 32",
            bytes.len()
        )),
        Err(_) => Err("is not base64; make one with: openssl rand -base64 32".to_owned()),
    }
}

/// A readable file with certificates.
pub(super) fn ca_file(text: &str) -> Parsed<PathBuf> {
    let pem = std::fs::read_to_string(text).map_err(|error| format!("{text} cannot be read: {error}"))?;
    if pem.contains("-----BEGIN CERTIFICATE-----") {
        return Ok(PathBuf::from(text));
    }
    Err(format!(
        "{text} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"
    ))
}

pub(super) fn proxy(text: &str) -> Parsed<Arc<ProxyUrl>> {
    ProxyUrl::parse(text.trim()).map(Arc::new)
}

/// A proxy's URL without user and password.
pub(super) fn mask_proxy(text: &str) -> String {
    match ProxyUrl::parse(text.trim()) {
        Ok(proxy) if text.contains('@') => proxy.to_string().replacen("://", "://***@", 1),
        Ok(proxy) => proxy.to_string(),
        Err(_) => "***".to_owned(),
    }
}

pub(super) fn proxy_connect(text: &str) -> Parsed<ConnectBy> {
    match text {
        "address" => Ok(ConnectBy::Address),
        "name" => Ok(ConnectBy::Name),
        _ => Err(format!("must be address or name, not {text:?}")),
    }
}

/// Delays such as `5s,2m,1h`: one attempt after each.
pub(super) fn retry(text: &str) -> Parsed<RetryPolicy> {
    let schedule: Vec<Duration> = list(text).map(delay).collect::<Parsed<_>>()?;
    if schedule.is_empty() || schedule.len() > 50 {
        return Err("must have 1 to 50 delays such as 5s,2m,1h".to_owned());
    }
    Ok(RetryPolicy {
        max_attempts: u32::try_from(schedule.len()).unwrap_or(50) + 1,
        schedule,
    })
}

/// A number and a unit; a number without a unit counts seconds.
fn delay(item: &str) -> Parsed<Duration> {
    let wrong = || format!("{item:?} is not a delay from 1s to 7d such as 30s, 10m or 6h");
    let digits = item.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &item[digits.len()..] {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    let seconds = count
        .checked_mul(seconds)
        .filter(|s| (1..=7 * 86_400).contains(s))
        .ok_or_else(wrong)?;
    Ok(Duration::from_secs(seconds))
}

pub(super) fn log(text: &str) -> Parsed<String> {
    match tracing_subscriber::EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "is not a filter such as info or openregister_webhooks=debug: {error}"
        )),
    }
}
