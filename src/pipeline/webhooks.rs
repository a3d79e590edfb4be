//! Delivery's access to the registrations.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::matching;
use super::metrics::Metrics;
use crate::delivery::Webhooks;
use crate::lifecycle::Event;
use crate::registry::{Registry, RegistryError, Webhook, WebhookId};

/// Delivery's view of the registrations.
#[derive(Debug, Clone)]
pub struct RegistryWebhooks {
    registry: Arc<Registry>,
    metrics: Metrics,
}

impl RegistryWebhooks {
    #[must_use]
    pub const fn new(registry: Arc<Registry>, metrics: Metrics) -> Self {
        Self { registry, metrics }
    }
}

impl Webhooks for RegistryWebhooks {
    fn get(&self, id: WebhookId) -> Option<Arc<Webhook>> {
        self.registry.snapshot().get(id).cloned()
    }

    fn all(&self) -> Vec<Arc<Webhook>> {
        self.registry.snapshot().all().to_vec()
    }

    fn wants(&self, webhook: &Webhook, event: &Event) -> bool {
        matching::wants(webhook, event, &self.metrics)
    }

    fn disable(&self, id: WebhookId, revision: i64, reason: String) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            match self.registry.disable(id, revision, reason).await {
                Ok(_) => {
                    self.metrics.disabled.inc();
                }
                Err(RegistryError::Changed(_) | RegistryError::NotFound(_)) => {
                    tracing::info!(webhook = %id, "a webhook that was to be disabled was changed meanwhile: it stays enabled");
                }
                Err(error) => {
                    tracing::error!(webhook = %id, error = %crate::error_text::chain(&error), "a webhook could not be disabled");
                }
            }
        })
    }
}
