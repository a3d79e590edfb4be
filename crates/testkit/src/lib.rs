//! What the tests test with, and the demo shows the main job with: a private PostgreSQL with OpenRegister's tables, a
//! writer that writes as OpenRegister does, and an HTTPS receiver.
//!
//! Guarantees: nothing of it outlives the process; it knows nothing of the sidecar.

#![forbid(unsafe_code)]

pub mod certificate;
mod generation;
pub mod guardian;
pub mod nextcloud;
pub mod postgres;
pub mod receiver;
pub mod writer;

pub use generation::Generation;
