//! What the demo shows the main job with, and the tests test with: a private PostgreSQL with OpenRegister's tables, a
//! writer that writes as OpenRegister does, and an HTTPS receiver.
//!
//! Guarantees: nothing here is reached from `run`; nothing of it outlives the process.

pub mod certificate;
mod generation;
mod guardian;
pub mod nextcloud;
pub mod postgres;
pub mod receiver;
pub mod show;
pub mod writer;

pub use generation::Generation;
