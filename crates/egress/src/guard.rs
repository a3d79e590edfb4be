//! The address guard: which addresses a delivery may connect to.
//!
//! Guarantees: an address is judged by the host that a packet to it would reach (an IPv4 address embedded in an IPv6 address
//! is judged as that IPv4 address too); everything that is not globally routable unicast is refused unless the configuration
//! allows it by network or by the host's name. The connector asks about the very addresses that it connects to, so a name
//! that resolves differently the next time gains nothing.

use std::net::IpAddr;

use hyper::Uri;
use ipnet::IpNet;

use crate::refused::Refused;
use crate::special::{INSIDE, METADATA, METADATA_NAMES, forbidden};
use crate::target::Target;

/// An exception of the address guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedTarget {
    Network(IpNet),
    /// A host name, lower case, without a trailing dot.
    Host(String),
}

/// The policy: which exceptions there are (the sidecar's `ORW_TARGETS_ALLOW`), and whether `http://` is allowed.
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
        let target = Target::parse(uri)?;
        if !target.tls && !self.allow_http {
            return Err(Refused::PlainHttp);
        }
        Ok(target)
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

#[cfg(test)]
mod tests {
    use super::*;

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
