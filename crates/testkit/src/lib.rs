//! A private PostgreSQL with OpenRegister's tables, a writer that writes as OpenRegister does, and an HTTPS receiver: for
//! tests, and for the demo and `receive` of the shipped program.
//!
//! Guarantees: nothing of it outlives the process that uses it; it does not know the sidecar. The feature `faults` adds what
//! only tests need: databases and receivers that fail on demand, and a collector of traces.

#![forbid(unsafe_code)]

pub mod certificate;
#[cfg(feature = "faults")]
pub mod collector;
mod generation;
pub mod guardian;
#[cfg(feature = "faults")]
pub mod lossy;
mod mutex;
pub mod nextcloud;
pub mod port;
pub mod postgres;
pub mod receiver;
pub mod writer;

pub use generation::Generation;
