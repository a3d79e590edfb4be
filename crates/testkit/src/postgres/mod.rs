//! A private, throw-away PostgreSQL server, run by the server programs that are installed.
//!
//! Guarantees: it is reached over a Unix socket in a directory of its own (and over TCP on loopback only if asked for). Nothing
//! of it outlives this process, however the process ends: a guardian process reads a pipe that only this process holds open;
//! when the pipe ends, the guardian stops the server and removes its directory. As root, the server runs as `postgres` or
//! `nobody`, because PostgreSQL refuses to run as root.

mod directory;
mod error;
mod programs;
mod server;

pub use error::{BIN_VARIABLE, PostgresError};
pub use programs::Programs;
pub use server::{Options, PrivatePostgres, SUPERUSER};
