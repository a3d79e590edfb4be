//! The outgoing proxy: which target goes through which, and the tunnel.
//!
//! Guarantees: a proxy is asked by CONNECT alone, for the very address that the guard has vetted, and TLS is spoken
//! through it with the receiver itself: the proxy sees no request and chooses no address. (With [`ConnectBy::Name`] the
//! administrator leaves that choice to the proxy.) Its credentials are in no `Debug`, error or log; its answer is
//! bounded.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use url::{Host, Url};
use zeroize::Zeroizing;

/// How much of a proxy's answer is read.
const MAX_ANSWER: usize = 16 * 1024;

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
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
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

/// What goes past the proxy: the entries of `NO_PROXY`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    what: What,
    /// Only this port.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Everything,
    /// A name and everything below it, or only what is below it.
    Name {
        name: String,
        itself: bool,
    },
    Network(IpNet),
}

impl NoProxy {
    /// Reads entries with commas or blanks between them: `*`, `example.org` (and everything below), `.example.org` or
    /// `*.example.org` (only what is below), an address, a network, each with an optional `:port`.
    ///
    /// # Errors
    /// The entry that is none of these.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.split(|c: char| c == ',' || c.is_whitespace())
            .filter(|item| !item.is_empty())
            .map(rule)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether a host, as it is written in the URL, goes past the proxy.
    pub(crate) fn host(&self, host: &str, port: u16) -> bool {
        self.matches(port, |what| match what {
            What::Everything => true,
            What::Network(network) => host
                .parse::<IpAddr>()
                .is_ok_and(|ip| network.contains(&ip.to_canonical())),
            What::Name { name, itself } => match host.strip_suffix(name.as_str()) {
                Some("") => *itself,
                Some(below) => below.ends_with('.'),
                None => false,
            },
        })
    }

    /// Whether an address that a host's name resolved to goes past the proxy.
    pub(crate) fn address(&self, address: IpAddr, port: u16) -> bool {
        self.matches(
            port,
            |what| matches!(what, What::Network(network) if network.contains(&address.to_canonical())),
        )
    }

    fn matches(&self, port: u16, matches: impl Fn(&What) -> bool) -> bool {
        self.0
            .iter()
            .any(|rule| rule.port.is_none_or(|only| only == port) && matches(&rule.what))
    }
}

fn rule(item: &str) -> Result<Rule, String> {
    let wrong = || {
        format!(
            "{item:?} is no entry: give *, a host name, .suffix, an address or a network such as 10.0.0.0/8, each with an optional :port"
        )
    };
    if let Some(what) = network(item) {
        return Ok(Rule { what, port: None });
    }
    let (text, port) = match item.rsplit_once(':') {
        Some((text, port)) => (text, Some(port.parse::<u16>().map_err(|_| wrong())?)),
        None => (item, None),
    };
    let text = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    if text == "*" {
        let what = What::Everything;
        return Ok(Rule { what, port });
    }
    if let Some(what) = network(text) {
        return Ok(Rule { what, port });
    }
    let (name, itself) = match text.strip_prefix("*.").or(text.strip_prefix('.')) {
        Some(below) => (below, false),
        None => (text, true),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    match Host::parse(name) {
        Ok(Host::Domain(name)) if !name.is_empty() => Ok(Rule {
            what: What::Name { name, itself },
            port,
        }),
        _ => Err(wrong()),
    }
}

fn network(text: &str) -> Option<What> {
    let bare = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    let one = || bare.parse::<IpAddr>().ok().map(IpNet::from);
    bare.parse().ok().or_else(one).map(What::Network)
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

/// Why a proxy did not connect us. Never the receiver's fault as far as we can tell.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyFault {
    #[error("its name cannot be resolved: {0}")]
    Dns(#[source] io::Error),
    #[error("its name has no address")]
    NoAddress,
    #[error("cannot connect to it: {0}")]
    Connect(#[source] io::Error),
    #[error("TLS with it: {0}")]
    Tls(String),
    #[error("it did not answer in time ({0})")]
    Timeout(&'static str),
    #[error("it demands other credentials (status 407); put user and password into the proxy's URL")]
    Credentials,
    #[error("it refuses to connect to {target} (status {status})")]
    Forbidden { target: String, status: u16 },
    #[error("it cannot connect to {target} (status {status})")]
    Unreachable { target: String, status: u16 },
    #[error("its answer to CONNECT is no HTTP")]
    Nonsense,
    #[error("it closed the connection: {0}")]
    Closed(#[source] io::Error),
}

impl ProxyFault {
    /// Whether the proxy might reach another address of the same target.
    pub(crate) fn is_of_the_address(&self) -> bool {
        matches!(self, Self::Unreachable { .. }) || matches!(self, Self::Timeout(step) if *step == ASKED)
    }
}

/// The step in which it is the proxy's turn.
pub(crate) const ASKED: &str = "CONNECT";

/// Asks the proxy at the other end of `io` for a tunnel to `target` (`host:port`).
pub(crate) async fn tunnel<S>(io: &mut S, proxy: &ProxyUrl, target: &str) -> Result<(), ProxyFault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"));
    if let Some(authorization) = &proxy.authorization {
        request.push_str("Proxy-Authorization: ");
        request.push_str(authorization.expose_secret());
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    io.write_all(request.as_bytes())
        .await
        .map_err(ProxyFault::Closed)?;
    io.flush().await.map_err(ProxyFault::Closed)?;
    let mut head = Vec::with_capacity(256);
    // Until the empty line and no further: what follows is the receiver's.
    while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"\n\n") {
        if head.len() >= MAX_ANSWER {
            return Err(ProxyFault::Nonsense);
        }
        head.push(io.read_u8().await.map_err(ProxyFault::Closed)?);
    }
    let target = || target.to_owned();
    match status(&head).ok_or(ProxyFault::Nonsense)? {
        200..=299 => Ok(()),
        407 => Err(ProxyFault::Credentials),
        status @ (502..=504) => Err(ProxyFault::Unreachable {
            target: target(),
            status,
        }),
        status => Err(ProxyFault::Forbidden {
            target: target(),
            status,
        }),
    }
}

/// The status of a response head.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|b| *b == b'\n').next()?;
    let text = std::str::from_utf8(line).ok()?;
    let rest = text
        .strip_prefix("HTTP/1.1 ")
        .or(text.strip_prefix("HTTP/1.0 "))?;
    let digits = rest.get(..3)?;
    let ends = rest[3..].chars().next().is_none_or(|c| c == ' ' || c == '\r');
    (ends && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn what_goes_past_the_proxy() {
        let no =
            NoProxy::parse("localhost, .inside.example *.deep.example,exact.example:8443 10.0.0.0/8,[2001:db8::]/32 192.0.2.7:99")
                .unwrap_err();
        assert!(no.contains("[2001:db8::]/32"), "{no}");
        let no = NoProxy::parse(
            "localhost, .inside.example *.deep.example,exact.example:8443 10.0.0.0/8,2001:db8::/32 192.0.2.7:99 EXÄMPLE.org [::5]:7",
        )
        .unwrap();
        for (host, port, passes) in [
            ("localhost", 1, true),
            ("notlocalhost", 1, false),
            ("inside.example", 443, false),
            ("a.inside.example", 443, true),
            ("ainside.example", 443, false),
            ("a.deep.example", 443, true),
            ("exact.example", 8443, true),
            ("exact.example", 443, false),
            ("www.exact.example", 8443, true),
            ("10.1.2.3", 443, true),
            ("11.1.2.3", 443, false),
            ("2001:db8::7", 443, true),
            ("::ffff:10.1.1.1", 443, true),
            ("192.0.2.7", 99, true),
            ("192.0.2.7", 98, false),
            ("xn--exmple-cua.org", 443, true),
            ("::5", 7, true),
            ("::5", 8, false),
        ] {
            assert_eq!(no.host(host, port), passes, "{host}:{port}");
        }
        assert!(no.address("10.9.9.9".parse().unwrap(), 1));
        assert!(!no.address("8.8.8.8".parse().unwrap(), 1));
        let all = NoProxy::parse("*").unwrap();
        assert!(all.host("anything.example", 443));
        let proxies = Proxies::default();
        for own in [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "169.254.169.254",
            "fe80::1",
        ] {
            assert!(proxies.passes_by(own.parse().unwrap(), 443), "{own}");
        }
    }

    #[tokio::test]
    async fn answers_to_connect_are_read_to_their_end_and_no_further() {
        let ask = async |answer: &'static [u8]| {
            let (mut ours, mut theirs) = tokio::io::duplex(64 * 1024);
            theirs.write_all(answer).await.unwrap();
            let proxy = ProxyUrl::parse("http://u:secret@proxy:1").unwrap();
            let result = tunnel(&mut ours, &proxy, "192.0.2.1:443").await;
            let mut asked = vec![0; 4096];
            let n = theirs.read(&mut asked).await.unwrap();
            drop(theirs);
            let mut rest = Vec::new();
            ours.read_to_end(&mut rest).await.unwrap();
            (result, String::from_utf8(asked[..n].to_vec()).unwrap(), rest)
        };
        let (good, asked, rest) = ask(b"HTTP/1.1 200 Connection established\r\nx: y\r\n\r\nrest").await;
        assert!(good.is_ok());
        assert_eq!(
            asked,
            "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\nProxy-Authorization: Basic dTpzZWNyZXQ=\r\n\r\n"
        );
        assert_eq!(rest, b"rest");
        for (answer, wanted) in [
            (
                &b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..],
                "credentials",
            ),
            (b"HTTP/1.1 403\r\n\r\n", "refuses"),
            (b"HTTP/1.0 503 Service Unavailable\r\n\r\n", "cannot connect"),
            (b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n", "refuses"),
            (b"HTTP/1.1 2000 OK\r\n\r\n", "no HTTP"),
            (b"HTTP/1.1 100 Continue\r\n\r\n", "refuses"),
            (b"SSH-2.0-x\r\n\r\n", "no HTTP"),
        ] {
            let (result, ..) = ask(answer).await;
            let said = result.unwrap_err().to_string();
            assert!(said.contains(wanted) && !said.contains("secret"), "{said}");
        }
        let endless: &'static [u8] = Box::leak(vec![b'x'; 20_000].into_boxed_slice());
        let (result, ..) = ask(endless).await;
        assert!(matches!(result, Err(ProxyFault::Nonsense)));
    }
}
