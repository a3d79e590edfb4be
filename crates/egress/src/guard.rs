//! The address guard: which addresses a delivery may connect to.
//!
//! Guarantees: an address is judged by what a packet to it would reach (an IPv4 address inside an IPv6 form is judged
//! as that IPv4 address too); everything that is not globally routable unicast is refused unless the configuration
//! allows it by network or by the host's name. The connector asks for the very addresses it connects to, so a name
//! that changes its answer gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::Uri;
use ipnet::IpNet;
use url::Host;

/// Why a target is refused; the reason names the address and what to configure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("{0:?} is not a URL that can be delivered to: {1}")]
    Url(String, &'static str),
    #[error("http:// is not allowed; use https://, or set ORW_TARGETS_ALLOW_HTTP=true")]
    PlainHttp,
    #[error("{}", address_refused(host, *address, kind))]
    Address {
        host: String,
        address: IpAddr,
        kind: &'static str,
    },
    #[error(
        "{address} ({host}) is {METADATA}, which hands out credentials; where that is meant, add {address} itself to ORW_TARGETS_ALLOW: \
         no network and no host name lets it through"
    )]
    Metadata { host: String, address: IpAddr },
    #[error(
        "{0} is the name of a cloud's metadata service, which hands out credentials; where that is meant, add {0} to ORW_TARGETS_ALLOW"
    )]
    MetadataName(String),
    #[error(
        "{0} cannot be looked up here, and the proxy is not asked for names that mean something inside a network only; where that is meant, \
         add {0} to ORW_TARGETS_ALLOW"
    )]
    Name(String),
}

/// A host that is written as the address is named once.
fn address_refused(host: &str, address: IpAddr, kind: &str) -> String {
    if host.trim_matches(['[', ']']).parse() == Ok(address) {
        format!("{address} is {kind}; where that is meant, add it or its network to ORW_TARGETS_ALLOW")
    } else {
        format!(
            "{address} ({host}) is {kind}; where that is meant, add {address} or its network, or {host}, to ORW_TARGETS_ALLOW"
        )
    }
}

/// An exception of the address guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedTarget {
    Network(IpNet),
    /// A host name, lower case, without a trailing dot.
    Host(String),
}

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

/// The policy, from `ORW_TARGETS_ALLOW` and `ORW_TARGETS_ALLOW_HTTP`.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allow: Vec<AllowedTarget>,
    allow_http: bool,
}

impl Guard {
    #[must_use]
    pub fn new(allow: Vec<AllowedTarget>, allow_http: bool) -> Self {
        Self { allow, allow_http }
    }

    /// Judges a URL at registration: its form, its scheme, and its address where the host is written as one. What a
    /// name resolves to is judged at every connection.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn check_url(&self, url: &str) -> Result<(), Refused> {
        let uri: Uri = url
            .parse()
            .map_err(|_| Refused::Url(url.to_owned(), "it cannot be read"))?;
        let target = self.target(&uri)?;
        match target.literal {
            Some(address) => self.check(&target.host, address),
            None => Ok(()),
        }
    }

    /// Reads a URL's target and judges its form and scheme.
    pub(crate) fn target(&self, uri: &Uri) -> Result<Target, Refused> {
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
        if !tls && !self.allow_http {
            return Err(Refused::PlainHttp);
        }
        Ok(Target {
            tls,
            host,
            port,
            literal,
        })
    }

    /// Judges a name that cannot be looked up here and is to be looked up by a proxy: names that mean something inside
    /// a network only are refused, unless they are listed.
    ///
    /// # Errors
    /// [`Refused::Name`], [`Refused::MetadataName`].
    pub(crate) fn check_name(&self, host: &str) -> Result<(), Refused> {
        let listed = |target: &AllowedTarget| matches!(target, AllowedTarget::Host(name) if name == host);
        if self.allow.iter().any(listed) {
            return Ok(());
        }
        if METADATA_NAMES.contains(&host) {
            return Err(Refused::MetadataName(host.to_owned()));
        }
        if host.rsplit_once('.').is_none_or(|(_, top)| INSIDE.contains(&top)) {
            return Err(Refused::Name(host.to_owned()));
        }
        Ok(())
    }

    /// Judges an address that `host` resolved to (or was written as).
    ///
    /// # Errors
    /// [`Refused::Address`], [`Refused::Metadata`].
    pub fn check(&self, host: &str, address: IpAddr) -> Result<(), Refused> {
        let Some(kind) = forbidden(address) else {
            return Ok(());
        };
        if kind == METADATA {
            if self.names_address(address) {
                return Ok(());
            }
            return Err(Refused::Metadata {
                host: host.to_owned(),
                address,
            });
        }
        if self.allowed(host, address) {
            return Ok(());
        }
        Err(Refused::Address {
            host: host.to_owned(),
            address,
            kind,
        })
    }

    /// Whether this one address is listed, by itself.
    fn names_address(&self, address: IpAddr) -> bool {
        let whole = IpNet::from(address.to_canonical());
        self.allow
            .iter()
            .any(|target| matches!(target, AllowedTarget::Network(network) if *network == whole))
    }

    fn allowed(&self, host: &str, address: IpAddr) -> bool {
        // An IPv4-mapped address goes over IPv4, so a network is compared with what is really reached.
        let address = address.to_canonical();
        self.allow.iter().any(|target| match target {
            AllowedTarget::Network(network) => network.contains(&address),
            AllowedTarget::Host(name) => name == host,
        })
    }
}

/// Names of metadata services; their addresses are in [`V4`] and [`forbidden_v6`]. Only a proxy is ever asked for a name.
const METADATA_NAMES: [&str; 9] = [
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "metadata.azure.internal",
    "metadata.tencentyun.com",
    "metadata.platformequinix.com",
    "api.metadata.cloud.ibm.com",
    "instance-data",
    "instance-data.ec2.internal",
];

/// Top-level names that are no public ones.
const INSIDE: [&str; 14] = [
    "alt",
    "arpa",
    "corp",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "private",
    "svc",
    "test",
];

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
pub(crate) fn redacted(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    let port = uri.port().map(|p| format!(":{p}")).unwrap_or_default();
    format!("{}://{host}{port}/…", uri.scheme_str().unwrap_or_default())
}

/// What kind of forbidden address this is; `None` for globally routable unicast.
fn forbidden(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => forbidden_v4(v4),
        IpAddr::V6(v6) => forbidden_v6(v6),
    }
}

/// What needs an allowance of its own.
const METADATA: &str = "a cloud metadata address";

/// IPv4 networks that are not globally reachable unicast (IANA special-purpose registry), first match wins; before them what
/// clouds answer at with metadata and credentials.
const V4: [(u32, u32, &str); 26] = [
    (0xA9FE_A9FE, 32, METADATA), // 169.254.169.254: AWS, Azure, Google, Oracle, OpenStack, DigitalOcean, Hetzner, …
    (0xA9FE_AA02, 32, METADATA), // 169.254.170.2: AWS ECS, credentials of tasks
    (0xA9FE_AA17, 32, METADATA), // 169.254.170.23: AWS EKS, credentials of pods
    (0xA9FE_0017, 32, METADATA), // 169.254.0.23: Tencent
    (0xA9FE_2A2A, 32, METADATA), // 169.254.42.42: Scaleway
    (0x6464_64C8, 32, METADATA), // 100.100.100.200: Alibaba
    (0xC000_00C0, 32, METADATA), // 192.0.0.192: Oracle, classic
    (0xA83F_8110, 32, METADATA), // 168.63.129.16: Azure; public by its number, and reached inside only
    (0x0000_0000, 8, "an address of this network"),
    (0x0A00_0000, 8, "a private address"),
    (0x6440_0000, 10, "a shared address of a provider (CGNAT)"),
    (0x7F00_0000, 8, "a loopback address"),
    (0xA9FE_0000, 16, "a link-local address"),
    (0xAC10_0000, 12, "a private address"),
    (0xC000_0000, 24, "a protocol assignment"),
    (0xC000_0200, 24, "a documentation address"),
    (0xC01F_C400, 24, "an AS112 address"),
    (0xC034_C100, 24, "an AMT relay address"),
    (0xC058_6300, 24, "a 6to4 relay address"),
    (0xC0A8_0000, 16, "a private address"),
    (0xC0AF_3000, 24, "an AS112 address"),
    (0xC612_0000, 15, "a benchmarking address"),
    (0xC633_6400, 24, "a documentation address"),
    (0xCB00_7100, 24, "a documentation address"),
    (0xE000_0000, 4, "a multicast address"),
    (0xF000_0000, 4, "a reserved or broadcast address"),
];

fn forbidden_v4(address: Ipv4Addr) -> Option<&'static str> {
    let bits = u32::from(address);
    V4.iter()
        .find(|(network, length, _)| (bits ^ network) >> (32 - length) == 0)
        .map(|(_, _, kind)| *kind)
}

/// The IPv4 addresses that a gateway of NAT64 with a prefix of its own below `64:ff9b:1::/48` may read in an address: the prefix has
/// 48, 56, 64 or 96 bits, and the byte 8 is passed over.
fn local_nat64(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let bytes = address.octets();
    [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]]
        .into_iter()
        .map(move |places: [usize; 4]| Ipv4Addr::from(places.map(|place| bytes[place])))
}

fn forbidden_v6(address: Ipv6Addr) -> Option<&'static str> {
    let s = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    // Forms that are refused anyway, and may be allowed by a wide network or by name: a metadata service stays one inside them.
    let inside = match s {
        [0, 0, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0xFFFF, 0, high, low] | [0x2002, high, low, ..] => {
            Some(v4(high, low))
        }
        [0x64, 0xFF9B, 1, ..] => local_nat64(address).find(|v4| forbidden_v4(*v4) == Some(METADATA)),
        _ => None,
    };
    if inside.is_some_and(|v4| forbidden_v4(v4) == Some(METADATA)) {
        return Some(METADATA);
    }
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("the unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("a loopback address"),
        // IPv4-mapped: goes out as IPv4.
        [0, 0, 0, 0, 0, 0xFFFF, high, low] => forbidden_v4(v4(high, low)),
        // IPv4-compatible and IPv4-translated forms reach no public host.
        [0, 0, 0, 0, 0, 0, ..] => Some("an IPv4-compatible address"),
        [0, 0, 0, 0, 0xFFFF, 0, ..] => Some("an IPv4-translated address"),
        // NAT64: judged as the IPv4 address that the gateway goes on to.
        [0x64, 0xFF9B, 0, 0, 0, 0, high, low] => forbidden_v4(v4(high, low)),
        [0x64, 0xFF9B, ..] => Some("a local NAT64 address"),
        [0x100, 0, 0, 0, ..] => Some("a discard address"),
        // 6to4 and Teredo carry an IPv4 address and are withdrawn: nothing legitimate is there.
        [0x2002, ..] => Some("a 6to4 address"),
        [0x2001, 0, ..] => Some("a Teredo address"),
        [0x2001, 0x0DB8, ..] => Some("a documentation address"),
        [0x2001, b, ..] if b < 0x200 => Some("a protocol assignment"),
        [0x3FFF, b, ..] if b < 0x1000 => Some("a documentation address"),
        [0x5F00, ..] => Some("a segment routing address"),
        // AWS (also EKS), Google, Oracle, Scaleway, OpenStack.
        [0xFD00, 0x0EC2, 0, 0, 0, 0, 0, 0x254 | 0x23]
        | [0xFD20, 0xCE, 0, 0, 0, 0, 0, 0x254]
        | [0xFD00, 0xC1, 0, 0, 0, 0, 0xA9FE, 0xA9FE]
        | [0xFD00, 0x42, 0, 0, 0, 0, 0, 0x42]
        | [0xFE80, 0, 0, 0, 0, 0, 0xA9FE, 0xA9FE] => Some(METADATA),
        [a, ..] if a & 0xFE00 == 0xFC00 => Some("a private address"),
        [a, ..] if a & 0xFFC0 == 0xFE80 => Some("a link-local address"),
        [a, ..] if a & 0xFFC0 == 0xFEC0 => Some("a site-local address"),
        [a, ..] if a & 0xFF00 == 0xFF00 => Some("a multicast address"),
        // Global unicast is 2000::/3 so far; the rest is reserved.
        [a, ..] if a & 0xE000 != 0x2000 => Some("a reserved address"),
        // ISATAP interface identifiers carry an IPv4 address.
        [.., 0x0000 | 0x0200, 0x5EFE, high, low] => forbidden_v4(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_network_is_refused_at_both_ends() {
        for (address, part) in [
            ("0.0.0.0", "this network"),
            ("0.255.255.255", "this network"),
            ("10.0.0.0", "private"),
            ("10.255.255.255", "private"),
            ("100.64.0.0", "CGNAT"),
            ("100.127.255.255", "CGNAT"),
            ("100.100.100.200", "metadata"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.255", "loopback"),
            ("169.254.0.0", "link-local"),
            ("169.254.169.254", "metadata"),
            ("169.254.255.255", "link-local"),
            ("172.16.0.0", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.1", "protocol"),
            ("192.0.0.192", "metadata"),
            ("168.63.129.16", "metadata"),
            ("169.254.170.2", "metadata"),
            ("64:ff9b::a83f:8110", "metadata"),
            ("fd20:ce::254", "metadata"),
            ("fd00:c1::a9fe:a9fe", "metadata"),
            ("fe80::a9fe:a9fe", "metadata"),
            ("192.0.2.255", "documentation"),
            ("192.88.99.1", "6to4"),
            ("192.168.255.255", "private"),
            ("198.18.0.0", "benchmarking"),
            ("198.19.255.255", "benchmarking"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::7f00:1", "IPv4-compatible"),
            ("::ffff:10.0.0.1", "private"),
            ("::ffff:169.254.169.254", "metadata"),
            ("::ffff:0:7f00:1", "IPv4-translated"),
            ("64:ff9b::7f00:1", "loopback"),
            ("64:ff9b::a00:1", "private"),
            ("64:ff9b:1::a00:1", "local NAT64"),
            ("100::1", "discard"),
            ("2001::1", "Teredo"),
            ("2001:db8::1", "documentation"),
            ("2001:10::1", "protocol"),
            ("2002:7f00:1::", "6to4"),
            ("3fff::1", "documentation"),
            ("5f00::1", "segment"),
            ("fc00::1", "private"),
            ("fd00:ec2::254", "metadata"),
            ("fdff::1", "private"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
            ("4000::1", "reserved"),
            ("2a00::5efe:a00:1", "private"),
            ("2a00::200:5efe:7f00:1", "loopback"),
        ] {
            let kind = forbidden(address.parse().unwrap());
            assert!(kind.is_some_and(|k| k.contains(part)), "{address}: {kind:?}");
        }
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            assert_eq!(forbidden(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn urls_are_judged_at_registration() {
        let guard = Guard::new(vec![], false);
        for url in [
            "",
            "example.org",
            "/path",
            "ftp://example.org/",
            "file:///etc/passwd",
            "http://example.org/",
            "https://",
            "https:///x",
            "https://user:secret@example.org/",
            "https://example.org@127.0.0.1/",
            "https://127.0.0.1/",
            "https://127.0.0.1./",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://10.1.2.3:8443/",
            "https://example.org:0/",
            "https://example.org:99999/",
            "https://example.org:/",
            "https://./",
            "https://exam ple.org/",
            "https://пример.рф/",
        ] {
            assert!(guard.check_url(url).is_err(), "{url} was let through");
        }
        for url in [
            "https://example.org/",
            "https://example.org./hook?x=1",
            "https://EXAMPLE.org:8443",
            "https://[2606:4700::1111]/",
            "https://1.1.1.1/",
            "https://xn--e1afmkfd.xn--p1ai/",
        ] {
            assert_eq!(guard.check_url(url), Ok(()), "{url}");
        }
        let message = guard
            .check_url("https://user:secret@example.org/")
            .unwrap_err()
            .to_string();
        assert!(!message.contains("secret"), "{message}");
    }

    #[test]
    fn the_allow_list_lets_networks_and_names_through() {
        let guard = Guard::new(
            vec![
                AllowedTarget::Network("10.0.0.0/8".parse().unwrap()),
                AllowedTarget::Host("receiver.internal".into()),
            ],
            true,
        );
        let ip = |s: &str| s.parse::<IpAddr>().unwrap();
        assert_eq!(guard.check("x", ip("10.1.2.3")), Ok(()));
        assert_eq!(guard.check("x", ip("::ffff:10.1.2.3")), Ok(()));
        assert!(guard.check("x", ip("192.168.0.1")).is_err());
        assert_eq!(guard.check("receiver.internal", ip("192.168.0.1")), Ok(()));
        assert!(
            guard
                .check("receiver.internal.evil.example", ip("192.168.0.1"))
                .is_err()
        );
        assert_eq!(guard.check_url("http://10.0.0.1/"), Ok(()));
        assert!(guard.check_url("http://127.0.0.1/").is_err());
    }

    #[test]
    fn a_metadata_service_is_let_through_by_its_own_address_only() {
        let ip = |s: &str| s.parse::<IpAddr>().unwrap();
        let guard = |allow: &[&str]| {
            let allow = allow.iter().map(|item| match item.parse() {
                Ok(network) => AllowedTarget::Network(network),
                Err(_) => AllowedTarget::Host((*item).to_owned()),
            });
            Guard::new(allow.collect(), true)
        };
        let wide = [
            "0.0.0.0/0",
            "::/0",
            "169.254.0.0/16",
            "168.63.129.16/31",
            "hooks.example",
        ];
        let wide = guard(&wide);
        for address in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd20:ce::254",
            "2002:a9fe:a9fe::1",
            "::a9fe:a9fe",
            "::ffff:0:a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:a9:fe:a9fe::",
            "64:ff9b:1:0:a9:fea9:fe00:0",
        ] {
            for host in ["hooks.example", address] {
                let refused = wide.check(host, ip(address)).unwrap_err();
                assert!(matches!(refused, Refused::Metadata { .. }), "{host} {address}");
                assert!(refused.to_string().contains(address), "{refused}");
            }
            let own = guard(&[&IpNet::from(ip(address).to_canonical()).to_string()]);
            assert_eq!(own.check("hooks.example", ip(address)), Ok(()), "{address}");
        }
        assert_eq!(wide.check("x", ip("169.254.1.1")), Ok(()));
        // Where a proxy looks names up.
        for name in [
            "metadata.google.internal",
            "metadata.goog",
            "metadata.tencentyun.com",
        ] {
            assert_eq!(wide.check_name(name), Err(Refused::MetadataName(name.to_owned())));
            assert_eq!(guard(&[name]).check_name(name), Ok(()));
        }
        assert_eq!(wide.check_name("hooks.public.example"), Ok(()));
    }
}
