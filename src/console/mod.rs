//! The SQL console: the state of the sidecar over the PostgreSQL wire protocol, for psql and for every driver, in the manner of
//! PgBouncer's.
//!
//! Guarantees: only who has logged in (SCRAM-SHA-256) gets an answer, and only an operator changes something, which the audit table
//! keeps; every message, connection, wait and answer is bounded; text of strangers cannot act on the reader's terminal. It is a face: what
//! its commands do is what the API and the command line do.
//!
//! pgwire has the messages, SCRAM and the forms of values. Reading from the socket, the login's order and the session are our own, because
//! the crate's would take lengths on trust and answer queries before a login that failed in an unforeseen way
//! (`docs/decisions/0015-console-on-pgwire.md`).

mod commands;
mod credentials;
mod error;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod limits;
mod login;
mod opening;
mod role;
mod server;
mod session;
mod sessions;
mod statement;
mod users;
mod value;
mod wire;

pub use commands::{Context, ShownSetting, ShownSettings};
pub use credentials::scram_hash;
pub use limits::Limits;
pub use opening::ALPN;
pub use role::Role;
pub use server::Console;
pub use users::ConsoleUser;

/// What clients take for PostgreSQL's version; the newest whose protocol is spoken in every part that drivers look at.
const SERVER_VERSION: &str = concat!("16.0 (openregister-webhooks ", env!("CARGO_PKG_VERSION"), ")");
