//! The outgoing proxy: which target goes through which, and the tunnel.
//!
//! Guarantees: a proxy is asked by CONNECT alone, for the very address that the guard has vetted, and TLS is spoken
//! through it with the receiver itself: the proxy sees no request and chooses no address. (With [`ConnectBy::Name`] the
//! administrator leaves that choice to the proxy.) Its credentials are in no `Debug`, error or log; its answer is
//! bounded.

mod no_proxy;
mod tunnel;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::{Host, Url};
use zeroize::Zeroizing;

pub use no_proxy::NoProxy;
pub use tunnel::ProxyFault;
pub(crate) use tunnel::{ASKED, tunnel};

/// A proxy.
#[derive(Clone)]
pub struct ProxyUrl {
    pub(crate) tls: bool,
    /// A name, or an address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of `Proxy-Authorization`.
    authorization: Option<SecretString>,
}

impl ProxyUrl {
    /// Reads `http://proxy:3128`, `https://user:password@proxy:443` or `proxy:3128`.
    ///
    /// # Errors
    /// What is wrong with it; never with the text, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        const LOOKS: &str =
            "it looks like http://proxy.example:3128 or http://user:password@proxy.example:3128";
        let text = match text.contains("://") {
            true => Zeroizing::new(text.to_owned()),
            false => Zeroizing::new(format!("http://{text}")),
        };
        let url = Url::parse(&text).map_err(|error| format!("is no URL of a proxy: {error}; {LOOKS}"))?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => {
                return Err(format!(
                    "{other}:// proxies are not supported, http:// and https:// are"
                ));
            }
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(format!("has a path, which no proxy has; {LOOKS}"));
        }
        let (Some(host), Some(port)) = (host(&url), url.port_or_known_default().filter(|p| *p != 0)) else {
            return Err(format!("names no host; {LOOKS}"));
        };
        let authorization = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => {
                let mut pair = Zeroizing::new(decoded(user));
                if pair.contains(&b':') {
                    return Err("has a user with a colon, which no proxy can be sent".to_owned());
                }
                pair.push(b':');
                pair.extend_from_slice(&Zeroizing::new(decoded(password.unwrap_or_default())));
                Some(format!("Basic {}", STANDARD.encode(&*pair)).into())
            }
        };
        Ok(Self {
            tls,
            host,
            port,
            authorization,
        })
    }
}

fn host(url: &Url) -> Option<String> {
    match url.host()? {
        Host::Domain("") => None,
        Host::Domain(name) => Some(name.strip_suffix('.').unwrap_or(name).to_owned()),
        Host::Ipv4(address) => Some(address.to_string()),
        Host::Ipv6(address) => Some(address.to_string()),
    }
}

/// Percent-decoded bytes.
fn decoded(text: &str) -> Vec<u8> {
    // With enough room from the beginning: growing would leave copies of a password behind.
    let mut out = Vec::with_capacity(text.len());
    out.extend(percent_decode_str(text));
    out
}

/// Without credentials.
impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", host_port(&self.host, self.port))
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({self})")
    }
}

/// `host:port`, an IPv6 address in brackets.
pub(crate) fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// What a proxy is asked to connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConnectBy {
    /// The address that the guard has vetted.
    #[default]
    Address,
    /// The name, for proxies that decide by name: then the proxy looks it up, and the proxy decides what it may reach.
    Name,
}

/// The proxies of the settings.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    pub https: Option<Arc<ProxyUrl>>,
    pub http: Option<Arc<ProxyUrl>>,
    pub no_proxy: NoProxy,
    pub connect_by: ConnectBy,
}

impl Proxies {
    /// What is worth a line in the log at start: traffic that takes another way than one thinks is hard to explain.
    #[must_use]
    pub fn shown(&self) -> Vec<String> {
        let by = match self.connect_by {
            ConnectBy::Address => "asked for addresses that were looked up and vetted here",
            ConnectBy::Name => "asked for names; what they lead to is for the proxy to decide",
        };
        [("https", &self.https), ("http", &self.http)]
            .into_iter()
            .filter_map(|(scheme, proxy)| {
                let proxy = proxy.as_ref()?;
                Some(format!(
                    "{scheme}:// receivers are reached through the proxy {proxy}, {by}"
                ))
            })
            .collect()
    }

    /// The proxy for a target, as far as its name tells.
    pub(crate) fn of(&self, tls: bool, host: &str, port: u16) -> Option<&Arc<ProxyUrl>> {
        let proxy = if tls { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.no_proxy.host(host, port))
    }

    /// Whether an address goes past the proxy. This machine's own addresses always do: at the proxy they would be the
    /// proxy's.
    pub(crate) fn passes_by(&self, address: IpAddr, port: u16) -> bool {
        let own = match address.to_canonical() {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified(),
        };
        own || self.no_proxy.address(address, port)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn urls_of_proxies_are_read_and_never_show_their_credentials() {
        let proxy = ProxyUrl::parse("http://us%65r:p%40ss%3A@Proxy.Example:3128/").unwrap();
        assert_eq!(proxy.to_string(), "http://proxy.example:3128");
        let expected = format!("Basic {}", STANDARD.encode("user:p@ss:"));
        assert_eq!(proxy.authorization.as_ref().unwrap().expose_secret(), expected);
        assert!(!format!("{proxy:?}").contains("p@ss") && !format!("{proxy:?}").contains("Basic"));
        let shown = |text: &str| ProxyUrl::parse(text).unwrap().to_string();
        assert_eq!(shown("proxy:3128"), "http://proxy:3128");
        assert_eq!(shown("https://[::1]:8443"), "https://[::1]:8443");
        assert_eq!(shown("http://10.0.0.1"), "http://10.0.0.1:80");
        for no in [
            "",
            "socks5://proxy:1080",
            "http://",
            "http://proxy:0",
            "http://proxy:3128/path",
            "http://secret:word@",
            "http://a%3Asecret:word@proxy:1",
        ] {
            let error = ProxyUrl::parse(no).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
