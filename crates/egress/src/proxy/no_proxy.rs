//! Which targets are reached without the outgoing proxy.

use std::net::IpAddr;

use ipnet::IpNet;
use url::Host;

/// Targets that are reached without the proxy: the entries of `NO_PROXY`.
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

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
