//! The URL of a proxy.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::{Host, Url};
use zeroize::Zeroizing;

/// A proxy.
#[derive(Clone)]
pub struct ProxyUrl {
    pub(crate) tls: bool,
    /// A name, or an address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of `Proxy-Authorization`.
    pub(super) authorization: Option<SecretString>,
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
