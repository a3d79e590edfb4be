//! The outgoing proxy: which target goes through which, and the tunnel.
//!
//! Guarantees: a proxy is asked by CONNECT only, for the very address that the guard has accepted, and TLS is spoken with the
//! receiver through the tunnel: the proxy sees no request and chooses no address. (With [`ConnectBy::Name`] the
//! administrator leaves that choice to the proxy.) Its credentials are in no `Debug`, error or log; its answer is
//! bounded.

mod no_proxy;
mod tunnel;
mod url;

use std::net::IpAddr;
use std::sync::Arc;

pub use self::no_proxy::NoProxy;
pub use self::tunnel::ProxyFault;
pub(crate) use self::tunnel::{CONNECT_STEP, tunnel};
pub use self::url::ProxyUrl;
pub(crate) use self::url::host_port;

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
    /// Lines for the log at start, so that nobody is surprised by the way that requests take.
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

    /// Whether an address is reached without the proxy. This machine's own addresses always are: for the proxy they would mean
    /// its own machine.
    pub(crate) fn bypasses(&self, address: IpAddr, port: u16) -> bool {
        let own = match address.to_canonical() {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified(),
        };
        own || self.no_proxy.address(address, port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machines_own_addresses_go_past_the_proxy() {
        let proxies = Proxies::default();
        for own in [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "169.254.169.254",
            "fe80::1",
        ] {
            assert!(proxies.bypasses(own.parse().unwrap(), 443), "{own}");
        }
    }
}
