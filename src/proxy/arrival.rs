//! How a request came in.

use std::net::IpAddr;

/// How a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The client: the last address in front of the trusted proxies.
    pub client: IpAddr,
    /// The other end of the connection.
    pub peer: IpAddr,
    /// Whether that is a proxy of `ORW_TRUSTED_PROXIES`: what it says about the client is forwarded.
    pub trusted: bool,
    /// Whether it came over TLS.
    pub secure: bool,
}

impl Arrival {
    pub(super) const fn scheme(self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}
