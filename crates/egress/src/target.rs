//! Where a URL leads.

use std::net::{IpAddr, Ipv6Addr};

use hyper::Uri;
use url::Host;

use crate::refused::Refused;

/// Where a URL leads, as far as it can be told without looking names up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) tls: bool,
    /// Lower case, without brackets and trailing dot; an address as it is usually written.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The address, where the host is written as one, in whatever notation.
    pub(crate) literal: Option<IpAddr>,
}

impl Target {
    /// Reads a URL's target and judges its form.
    pub(crate) fn parse(uri: &Uri) -> Result<Self, Refused> {
        let refuse = |reason| Refused::Url(redacted(uri), reason);
        let authority = uri
            .authority()
            .ok_or_else(|| refuse("it needs a scheme and a host"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(refuse("the scheme must be https")),
        };
        if authority.as_str().contains('@') {
            return Err(refuse(
                "user and password do not belong into it; use headers or authData",
            ));
        }
        let host = authority.host();
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if host.is_empty() || host.ends_with('.') {
            return Err(refuse("the host is missing"));
        }
        let (host, literal) = read_host(&host).ok_or_else(|| refuse("its host is no name or address"))?;
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str().ends_with(':') || authority.as_str() != authority.host() => {
                return Err(refuse("the port is none"));
            }
            None if tls => 443,
            None => 80,
        };
        if port == 0 {
            return Err(refuse("the port is none"));
        }
        Ok(Self {
            tls,
            host,
            port,
            literal,
        })
    }
}

/// A host as a URL's reader understands it, so that no notation of an address passes for a name. `None` where it is
/// neither.
fn read_host(host: &str) -> Option<(String, Option<IpAddr>)> {
    if let Ok(v6) = host.parse::<Ipv6Addr>() {
        return Some((v6.to_string(), Some(v6.into())));
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if host.len() > 253 || !host.bytes().all(plain) {
        return None;
    }
    match Host::parse(host).ok()? {
        Host::Domain(name) => Some((name, None)),
        Host::Ipv4(v4) => Some((v4.to_string(), Some(v4.into()))),
        Host::Ipv6(v6) => Some((v6.to_string(), Some(v6.into()))),
    }
}

/// The URL without what may be secret in it.
fn redacted(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    let port = uri.port().map(|p| format!(":{p}")).unwrap_or_default();
    format!("{}://{host}{port}/…", uri.scheme_str().unwrap_or_default())
}
