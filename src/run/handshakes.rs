//! Wires the renewal of handshakes: a receiver that was asked whether it wants requests is asked again every day.
//!
//! Guarantees: a receiver that withdraws its permission gets nothing more; one that does not answer keeps it, and is asked again
//! later. Nothing is asked on behalf of a restored copy of the database.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use orw_egress::Client;
use tokio_util::sync::CancellationToken;

use super::delivering::where_allowed;
use super::shared::Shared;
use crate::delivery::handshake::{self, HandshakeError};
use crate::registry::{Registry, RegistryError, Status, Webhook, WebhookId};
use crate::supervise::Supervisor;

/// How often it is looked whether a handshake is to be renewed; only memory is read for it.
const LOOK: Duration = Duration::from_secs(5);
/// How long a permission counts before the receiver is asked again.
const RENEW_AFTER: TimeDelta = TimeDelta::days(1);
/// How long a receiver is left alone if it did not answer, or its answer could not be stored.
const ASK_AGAIN: TimeDelta = TimeDelta::minutes(10);

pub(super) fn start(shared: &Shared, supervisor: &mut Supervisor) {
    let (registry, client) = (Arc::clone(&shared.registry), shared.client.clone());
    let status = shared.status.clone();
    supervisor.start("handshakes", move |part| {
        let (registry, client, status) = (Arc::clone(&registry), client.clone(), status.subscribe());
        async move {
            let renewing = |stop: CancellationToken| {
                let (registry, client) = (&registry, &client);
                async move {
                    stop.run_until_cancelled(renew(registry, client)).await;
                    Ok(())
                }
            };
            where_allowed(status, part.shutdown(), renewing).await
        }
    });
}

async fn renew(registry: &Registry, client: &Client) {
    let mut left_alone: HashMap<WebhookId, DateTime<Utc>> = HashMap::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let (now, snapshot) = (Utc::now(), registry.snapshot());
        left_alone.retain(|id, until| *until > now && snapshot.get(*id).is_some());
        for webhook in snapshot.all().iter().filter(|webhook| is_due(webhook, now)) {
            if left_alone.contains_key(&webhook.id) {
                continue;
            }
            if !renew_one(registry, client, webhook).await {
                left_alone.insert(webhook.id, now + ASK_AGAIN);
            }
        }
    }
}

fn is_due(webhook: &Webhook, now: DateTime<Utc>) -> bool {
    webhook.status == Status::Enabled
        && webhook
            .handshake
            .as_ref()
            .is_some_and(|made| made.allowed_at + RENEW_AFTER <= now)
}

/// Whether the receiver answered, and the answer was stored.
async fn renew_one(registry: &Registry, client: &Client, webhook: &Webhook) -> bool {
    let Some(before) = &webhook.handshake else {
        return true;
    };
    let certificate = webhook.client_certificate.as_deref();
    let (id, revision) = (webhook.id, webhook.revision);
    let timeout = webhook.limits.timeout;
    let asked = handshake::ask(client, &webhook.target, certificate, &before.wish, timeout);
    let done = match asked.await {
        Ok(made) => registry.renew_handshake(id, revision, made).await,
        Err(HandshakeError::Refused(reason)) => {
            tracing::warn!(webhook = %id, reason, "a receiver no longer allows requests: the webhook is disabled");
            registry.disable(id, revision, reason).await
        }
        Err(error @ HandshakeError::Silent(_)) => {
            tracing::warn!(webhook = %id, %error, "a handshake could not be renewed; what the receiver allowed still counts");
            return false;
        }
    };
    match done {
        Ok(_) | Err(RegistryError::Changed(_) | RegistryError::NotFound(_)) => {}
        Err(error) => {
            tracing::warn!(webhook = %id, error = %crate::error_text::chain(&error), "the result of a handshake could not be stored");
            return false;
        }
    }
    true
}
