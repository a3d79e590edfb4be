//! Our own routes for webhooks: every field, the status, the signing secret, and who changed what.

use std::time::Duration;

use serde_json::{Value, json};

use super::context::{Call, Context};
use super::error::{Answer, HandlerError};
use super::parameters::{ListQuery, PathId};
use crate::delivery::handshake::{self, EnableError};
use crate::ocs::reply::Reply;
use crate::registry::{RegistryError, Status, parse_secret, view};

/// How long an old secret signs beside the new one, in seconds: the default and the most.
const OVERLAP: u32 = 86_400;
const LONGEST_OVERLAP: u32 = 2_592_000;
/// The longest reason for disabling a webhook, in characters.
const LONGEST_REASON: usize = 200;

pub(crate) async fn list(context: &Context) -> Answer {
    let snapshot = context.registry.refresh().await?;
    let all = snapshot
        .all()
        .iter()
        .map(|webhook| Value::Object(view::whole(webhook)));
    Ok(Reply::data(all.collect::<Vec<_>>()))
}

pub(crate) async fn show(context: &Context, id: PathId<'_>) -> Answer {
    let webhook = context.webhook(id).await?;
    Ok(Reply::data(view::whole(&webhook)))
}

/// Enables a webhook, or resumes one that is paused.
pub(crate) async fn enable(context: &Context, call: &Call) -> Answer {
    let id = call.id();
    let stored = context.find_webhook(id.webhook().0).await?;
    if stored.is_none_or(|webhook| webhook.handshake.is_none()) {
        // There is nobody to ask, so nothing that sends requests is needed.
        return set_status(context, call, Status::Enabled).await;
    }
    let client = &context.deliveries()?.client;
    match handshake::enable(client, &context.registry, &call.caller(), id.webhook()).await {
        Ok(changed) => Ok(Reply::data(view::whole(&changed.webhook))),
        Err(EnableError::Registry(RegistryError::NotFound(_))) => Err(id.missing("Webhook")),
        Err(EnableError::Registry(error)) => Err(error.into()),
        Err(EnableError::Handshake(error)) => Err(HandlerError::field("handshake", error.to_string())),
    }
}

pub(crate) async fn pause(context: &Context, call: &Call) -> Answer {
    set_status(context, call, Status::Paused).await
}

pub(crate) async fn disable(context: &Context, call: &Call) -> Answer {
    let reason = call.fields.short_text("reason", LONGEST_REASON)?;
    let reason = reason.map_or_else(
        || format!("disabled by {}", call.caller().user),
        ToOwned::to_owned,
    );
    let since = chrono::Utc::now();
    set_status(context, call, Status::Disabled { reason, since }).await
}

async fn set_status(context: &Context, call: &Call, status: Status) -> Answer {
    let id = call.id();
    match context
        .registry
        .set_status(&call.caller(), id.webhook(), status)
        .await
    {
        Ok(changed) => Ok(Reply::data(view::whole(&changed.webhook))),
        Err(RegistryError::NotFound(_)) => Err(id.missing("Webhook")),
        Err(error) => Err(error.into()),
    }
}

/// Sets a new signing secret and shows it this once.
pub(crate) async fn rotate_secret(context: &Context, call: &Call) -> Answer {
    let secret = parse_secret(&call.fields)?;
    let overlap = call
        .fields
        .number("overlapSeconds", 0, LONGEST_OVERLAP)?
        .unwrap_or(OVERLAP);
    let overlap = Duration::from_secs(overlap.into());
    let id = call.id();
    let changed = match context
        .registry
        .rotate_secret(&call.caller(), id.webhook(), secret, overlap)
        .await
    {
        Err(RegistryError::NotFound(_)) => return Err(id.missing("Webhook")),
        other => other?,
    };
    let mut fields = view::whole(&changed.webhook);
    if let Some(secret) = &changed.secret {
        fields.insert("secret".to_owned(), view::shown(secret));
    }
    Ok(Reply::data(fields))
}

/// Who changed what, newest first.
pub(crate) async fn audit(context: &Context, query: ListQuery) -> Answer {
    let ListQuery { webhook, page } = query;
    let entries = context.registry.audit(webhook, page.before, page.limit).await?;
    let next = page.next(entries.len(), entries.last().map(|last| last.id));
    let entries: Vec<_> = entries.iter().map(view::audited).collect();
    Ok(Reply::data(json!({"entries": entries, "cursor": next})))
}
