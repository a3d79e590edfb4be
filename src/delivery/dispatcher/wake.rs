//! Waking the dispatcher from other parts of this process.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::registry::WebhookId;

/// Wakes the dispatcher when there is work; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<Woken>);

#[derive(Debug, Default)]
struct Woken {
    webhooks: Mutex<BTreeSet<WebhookId>>,
    notify: Notify,
}

impl Wake {
    /// Says that there are new deliveries for these webhooks, or that a webhook was changed, enabled or resumed. Call it after the
    /// commit; it never waits.
    pub fn wake(&self, webhooks: impl IntoIterator<Item = WebhookId>) {
        self.0
            .webhooks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(webhooks);
        self.0.notify.notify_one();
    }

    /// Waits until there is work, and says for which webhooks. Cancel-safe.
    pub(super) async fn woken(&self) -> BTreeSet<WebhookId> {
        self.0.notify.notified().await;
        std::mem::take(&mut *self.0.webhooks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
