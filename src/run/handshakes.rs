//! Wires the renewal of handshakes: a receiver that was asked whether it wants requests is asked again every day.
//!
//! Guarantees: a receiver that withdraws its permission gets nothing more, and its webhook is paused, so no event is lost. A withdrawal
//! is an explicit refusal that lasts for an hour; a receiver that is silent or out of order keeps its permission, and is asked again
//! later. What it answers is no change of the registration, unless it is another rate. At most [`AT_ONCE`] receivers are asked at once,
//! so a slow one delays the others by its timeout at most. Nothing is asked on behalf of a restored copy of the database.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt as _;
use orw_egress::Client;
use tokio_util::sync::CancellationToken;

use super::delivering::where_allowed;
use super::shared::Shared;
use crate::delivery::handshake::{self, HandshakeError};
use crate::registry::{Handshake, Registry, RegistryError, Status, Webhook, WebhookId};
use crate::supervise::Supervisor;

/// How often it is looked whether a handshake is to be renewed; only memory is read for it.
const LOOK: Duration = Duration::from_secs(5);
/// How long a receiver is left alone if it gave no permission, or its answer could not be stored.
const ASK_AGAIN: TimeDelta = TimeDelta::minutes(10);
/// How many receivers are asked at once.
const AT_ONCE: usize = 8;

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
    // Until when, and at which revision of the registration: a change makes a new beginning.
    let mut left_alone: HashMap<WebhookId, (i64, DateTime<Utc>)> = HashMap::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let (now, snapshot) = (Utc::now(), registry.snapshot());
        left_alone.retain(|id, (revision, until)| {
            *until > now
                && snapshot
                    .get(*id)
                    .is_some_and(|webhook| webhook.revision == *revision)
        });
        let due: Vec<Arc<Webhook>> = snapshot
            .all()
            .iter()
            .filter(|webhook| is_due(webhook, now) && !left_alone.contains_key(&webhook.id))
            .cloned()
            .collect();
        drop(snapshot);
        let asked = futures::stream::iter(due)
            .map(|webhook| async move {
                let settled = renew_one(registry, client, webhook.id).await;
                (settled, webhook)
            })
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        let until = Utc::now() + ASK_AGAIN;
        for (settled, webhook) in asked {
            if !settled {
                left_alone.insert(webhook.id, (webhook.revision, until));
            }
        }
    }
}

fn is_due(webhook: &Webhook, now: DateTime<Utc>) -> bool {
    webhook.status == Status::Enabled && webhook.handshake.as_ref().is_some_and(|made| made.is_due(now))
}

/// Whether the receiver allows it, and that was stored.
async fn renew_one(registry: &Registry, client: &Client, id: WebhookId) -> bool {
    // It may have waited for its turn.
    let snapshot = registry.snapshot();
    let Some(webhook) = snapshot.get(id).filter(|webhook| is_due(webhook, Utc::now())) else {
        return true;
    };
    match ask(registry, client, webhook).await {
        Ok(settled) => settled,
        Err(RegistryError::Changed(_) | RegistryError::NotFound(_)) => true,
        Err(error) => {
            tracing::warn!(webhook = %id, error = %crate::error_text::chain(&error), "the result of a handshake could not be stored");
            false
        }
    }
}

async fn ask(registry: &Registry, client: &Client, webhook: &Webhook) -> Result<bool, RegistryError> {
    let (id, revision) = (webhook.id, webhook.revision);
    // Another process may have asked already.
    let before = match registry.stored_handshake(id).await? {
        Some((stored, before)) if stored == revision => before,
        _ => return Ok(true),
    };
    if Some(&before) != webhook.handshake.as_ref() {
        registry.show_handshake(id, revision, &before);
        // The answer that another process got counts here as well. If the receiver is still due, it is asked later.
        return Ok(!before.is_due(Utc::now()));
    }
    let certificate = webhook.client_certificate.as_deref();
    let timeout = webhook.limits.timeout.min(handshake::TIMEOUT);
    match handshake::ask(client, &webhook.target, certificate, &before.wish, timeout).await {
        Ok(made) if made.allowed_rate == before.allowed_rate => {
            registry.note_handshake(id, revision, made).await?;
            Ok(true)
        }
        Ok(made) => registry.renew_handshake(id, revision, made).await.map(|_| true),
        Err(HandshakeError::Refused(reason)) => refused(registry, webhook, &before, reason).await,
        Err(error @ (HandshakeError::Unclear(_) | HandshakeError::Silent(_))) => {
            tracing::warn!(webhook = %id, %error, "a handshake could not be renewed; what the receiver allowed still counts");
            Ok(false)
        }
    }
}

async fn refused(
    registry: &Registry,
    webhook: &Webhook,
    before: &Handshake,
    reason: String,
) -> Result<bool, RegistryError> {
    let (id, now) = (webhook.id, Utc::now());
    let made = before.refused(reason, now);
    if let Some(reason) = made.withdrawn(now) {
        tracing::warn!(webhook = %id, reason, "a receiver no longer allows requests: the webhook is paused, and its events are kept for it");
        registry.pause_refused(id, webhook.revision, made).await?;
        return Ok(true);
    }
    let reason = made.refusal.as_ref().map(|refusal| &*refusal.reason);
    tracing::warn!(webhook = %id, reason, "a receiver refuses requests that it allowed: it is asked again, and if it refuses for an hour, the webhook is paused");
    registry.note_handshake(id, webhook.revision, made).await?;
    Ok(false)
}
