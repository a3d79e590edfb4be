//! The registration API: Nextcloud's `webhook_listeners`, as a real one answers, and routes of our own.
//!
//! Guarantees: what Nextcloud answers is answered here, in both versions and formats, unless the manual lists why it is
//! better otherwise; nothing is read or changed for a caller who may not; every body, header and wait is bounded; no answer
//! holds a secret except the one to the request that set it.

mod activity;
mod api;
mod auth;
mod fixed_answers;
mod handlers;
pub(crate) mod input;
mod inside;
mod local_accounts;
mod nextcloud_accounts;
mod nextcloud_api;
mod ocs_path;
mod reply;
mod routes;
mod routing;
mod server;
mod service;
mod session;
mod session_cache;
mod stall;
mod webhook_keys;
pub(crate) mod xml;

pub use api::Api;
pub(crate) use api::PAGES;
pub use auth::Authenticator;
pub use handlers::context::DeliveryContext;
pub(crate) use inside::Refusal;
pub use inside::{Inside, Pages};
pub use local_accounts::{AuthError, LocalAccounts};
pub use nextcloud_accounts::NextcloudAccounts;
pub use server::Server;
pub use session::{Denied, Session};
pub use session_cache::Clock;
