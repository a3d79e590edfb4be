//! Why a target is refused.

use std::net::IpAddr;

use crate::special::METADATA;

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
