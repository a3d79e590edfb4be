//! Entry points for the fuzz targets below `fuzz/`: what nothing else outside of this crate calls. They are no part of its
//! interface.

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::proxy::{self, NoProxy, ProxyFault, ProxyUrl};

/// Whether a host, as it is written in a URL, is reached without the proxy.
#[must_use]
pub fn bypasses(rules: &NoProxy, host: &str, port: u16) -> bool {
    rules.host(host, port)
}

/// Whether an address that a name resolved to is reached without the proxy.
#[must_use]
pub fn bypasses_address(rules: &NoProxy, address: IpAddr, port: u16) -> bool {
    rules.address(address, port)
}

/// Asks the proxy at the other end of `io` for a tunnel to `target` (`host:port`), and reads its answer.
///
/// # Errors
/// Why there is no tunnel.
pub async fn tunnel<S>(io: &mut S, proxy: &ProxyUrl, target: &str) -> Result<(), ProxyFault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    proxy::tunnel(io, proxy, target).await
}
