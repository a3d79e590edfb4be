//! Delivery: from a stored event and a webhook to an answered HTTPS request.
//!
//! Guarantees: at least once; for one webhook and one lane in commit order, one at a time; nothing is sent to an
//! address that the guard has not vetted; every wait and body is bounded. `docs/delivery-states.md` has the states.

mod ask;
mod breaker;
mod cause;
pub mod depth;
mod dispatcher;
mod events;
pub mod format;
mod kept;
pub mod log;
mod metrics;
pub mod partitions;
pub mod queue;
mod request;
mod retry_schedule;
mod sign;
pub mod statistics;
pub mod trial;

use std::sync::Arc;

use futures::future::BoxFuture;

pub use cause::{Cause, Failure};
pub use dispatcher::{Dispatcher, Options, Wake};
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
