//! One HTTP request to a host that somebody else named: everything between "send this" and the answer.
//!
//! Guarantees: a connection is made only to an address that the [`Guard`] has accepted in that very call; redirects
//! are not followed; certificates are verified; every wait, head and body is bounded.

#![forbid(unsafe_code)]

mod certificate;
mod client;
mod connect;
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod pool;
mod proxy;
mod refused;
mod resolve;
mod special;
mod stream;
mod target;
mod tls;
mod trust;

pub use certificate::{ClientCertificate, Fingerprint, certificate_end};
pub use client::{Answer, Cause, Client, Incomplete, Outgoing, SendError};
pub use connect::{ConnectError, Destination};
pub use guard::{AllowedTarget, Guard};
pub use proxy::{ConnectBy, NoProxy, Proxies, ProxyFault, ProxyUrl};
pub use refused::Refused;
pub use resolve::{Resolve, SystemResolver};
pub use tls::{TlsError, client_config};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
