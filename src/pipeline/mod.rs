//! The pipeline: changes → events → registrations × filters → deliveries, in the reader's transaction.
//!
//! Guarantees: events, deliveries and the reader's position are committed together or not at all; an event is stored once
//! and matched against the registrations as they are in that transaction; a change that cannot be read is quarantined and
//! never stops the rest. Data flows one way: nothing here knows of the faces.

mod activity;
mod adopt;
mod batch_state;
mod batches;
mod document;
pub mod erase;
mod error;
mod gaps;
pub mod jobs;
mod matching;
mod metrics;
pub mod preview;
mod webhooks;

pub use activity::{ActivityFinder, ActivityRequests};
pub use adopt::adopt;
pub use batches::Pipeline;
#[cfg(test)]
pub(crate) use document::Documented;
pub use error::PipelineError;
pub use matching::{Match, matches};
pub use metrics::Metrics;
pub use webhooks::RegistryWebhooks;
