//! The registration API: Nextcloud's `webhook_listeners`, as a real one answers, and routes of our own.
//!
//! Guarantees: what Nextcloud answers is answered here, in both versions and formats, unless the manual lists why it is
//! better otherwise; nothing is read or changed for a caller who may not; every body, header and wait is bounded; no answer
//! holds a secret but the one to the request that set it.

mod activity;
mod api;
mod auth;
mod behind;
mod callers;
mod input;
mod operations;
mod probe;
mod remembered;
mod reply;
mod routes;
mod server;
mod stall;
mod throttle;
mod tls;
pub(crate) mod view;
mod work;
mod xml;

pub use api::{Api, PlainHandler, text};
pub use auth::{AuthError, Authenticator, Denied, Session, Standalone};
pub use callers::Callers;
pub use remembered::Clock;
pub use reply::{Body, BoxError, full};
pub use server::Server;
pub use tls::{ListenerTls, TlsFileError};
pub use work::Work;
