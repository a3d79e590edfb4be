//! Delivery: from a stored event and a webhook to an answered HTTPS request.
//!
//! Guarantees: at least once; for one webhook and one lane in commit order, one at a time; nothing is sent to an
//! address that the guard has not vetted; every wait and body is bounded. `docs/delivery-states.md` has the states.

mod ask;
mod breaker;
pub mod client;
mod connect;
pub mod depth;
mod dispatcher;
mod events;
pub mod format;
pub mod guard;
mod kept;
pub mod log;
mod metrics;
pub mod partitions;
mod pool;
pub mod proxy;
pub mod queue;
mod request;
pub mod resolve;
mod retry_schedule;
mod sign;
pub mod statistics;
mod stream;
pub mod tls;
pub mod trial;
mod trust;

use std::sync::Arc;

use futures::future::BoxFuture;

pub use client::{Answer, Cause, Client, Failure, Outgoing};
pub use dispatcher::{Dispatcher, Options, Wake};
pub use guard::Guard;
pub use metrics::Metrics;
pub use queue::{EventRef, NewDelivery, Reason, enqueue};
pub use sign::{BadSecret, BadSignature, legacy_signature, signatures, verify, verify_legacy};

use crate::lifecycle::Event;
use crate::registry::{Webhook, WebhookId};

/// What delivery needs of the registry.
pub trait Webhooks: Send + Sync + 'static {
    /// The webhook as it is registered now; `None` where it is not known.
    fn get(&self, id: WebhookId) -> Option<Arc<Webhook>>;

    /// Every webhook, whatever its status.
    fn all(&self) -> Vec<Arc<Webhook>>;

    /// Whether the webhook still wants the event, now that it is known who did it.
    fn wants(&self, webhook: &Webhook, event: &Event) -> bool;

    /// Disables a webhook, for a reason that its owner reads; unless it was changed since it had this revision.
    fn disable(&self, id: WebhookId, revision: i64, reason: String) -> BoxFuture<'_, ()>;
}
