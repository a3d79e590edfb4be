//! What delivery needs from the registry, as a trait: so that it can be tested without one.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::lifecycle::Event;
use crate::registry::{Webhook, WebhookId};

/// What delivery needs from the registry.
pub trait Webhooks: Send + Sync + 'static {
    /// The webhook as it is registered now; `None` if it is not registered.
    fn get(&self, id: WebhookId) -> Option<Arc<Webhook>>;

    /// Every webhook, whatever its status.
    fn all(&self) -> Vec<Arc<Webhook>>;

    /// Whether the webhook still wants the event, now that it is known who did it.
    fn wants(&self, webhook: &Webhook, event: &Event) -> bool;

    /// Disables a webhook, for a reason that its owner reads, unless the registration has another revision by now.
    fn disable(&self, id: WebhookId, revision: i64, reason: String) -> BoxFuture<'_, ()>;
}
