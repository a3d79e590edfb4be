//! Delivery: from a stored event and a webhook to an answered HTTPS request.
//!
//! Guarantees: at least once; for one webhook and one lane in commit order, one at a time; nothing is sent to an
//! address that the guard has not vetted; every wait and body is bounded. `docs/delivery-states.md` has the states.

mod breaker;
mod cause;
pub mod depth;
mod dispatcher;
mod events;
pub(crate) mod failing;
mod feed;
pub mod figures;
pub mod format;
pub mod handshake;
pub mod histogram;
mod jwt;
mod metrics;
pub mod overview;
pub mod partitions;
pub mod queue;
mod request;
mod response_excerpt;
mod retry_schedule;
mod sign;
pub mod statistics;
mod timed_query;
mod traced;
pub mod trial;
mod webhook_metrics;
mod webhooks;

pub use cause::{Cause, Failure};
pub(crate) use dispatcher::Grant;
pub use dispatcher::{Dispatcher, Options, Wake};
pub use feed::{Feed, Watched};
pub use metrics::Metrics;
pub use queue::{EventRef, NewDelivery, Reason, enqueue};
pub use sign::{BadSecret, BadSignature, legacy_signature, signatures, verify, verify_legacy};
pub use webhooks::Webhooks;
