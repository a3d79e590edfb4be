//! Nextcloud's own routes for webhooks (`webhook_listeners`): the answers have exactly the fields that Nextcloud's have.

use serde_json::Value;

use super::context::{Call, Context, NextcloudPart};
use super::error::{Answer, HandlerError};
use crate::delivery::handshake;
use crate::ocs::reply::Reply;
use crate::registry::view::Keys;
use crate::registry::{Registration, RegistryError, Webhook, view};

/// All webhooks, or those with the `uri` that the query names; Nextcloud's own come first.
pub(crate) async fn list(context: &Context, call: Call) -> Answer {
    let uri = call.query.get("uri").and_then(Value::as_str);
    let snapshot = context.registry.refresh().await?;
    let mut ours: Vec<_> = snapshot
        .all()
        .iter()
        .filter(|webhook| uri.is_none_or(|uri| webhook.uri == uri))
        .collect();
    // What changed last comes last, as in Nextcloud.
    ours.sort_by_key(|webhook| webhook.revision);
    let warnings = call.nextcloud.warnings();
    let mut listed = match call.nextcloud {
        NextcloudPart::Webhooks(webhooks) => webhooks,
        NextcloudPart::Nothing | NextcloudPart::Deleted(_) | NextcloudPart::AppDisabled => Vec::new(),
    };
    listed.extend(
        ours.into_iter()
            .map(|webhook| Value::Object(view::recorded(webhook, call.keys))),
    );
    Ok(Reply::Data(listed.into(), warnings))
}

pub(crate) async fn show(context: &Context, call: &Call) -> Answer {
    let webhook = context.webhook(call.id()).await?;
    Ok(Reply::data(view::recorded(&webhook, call.keys)))
}

pub(crate) async fn create(context: &Context, call: &Call) -> Answer {
    let mut registration = Registration::parse(&call.fields, &*context.targets)?;
    ask_receiver(context, &mut registration, None).await?;
    let extras = registration.extras.clone();
    let keys = keys(call, &registration);
    let changed = context.registry.create(&call.caller(), registration).await?;
    let fields = view::changed(view::recorded(&changed.webhook, keys), &changed, &extras);
    Ok(Reply::Data(fields.into(), changed.warnings))
}

pub(crate) async fn update(context: &Context, call: &Call) -> Answer {
    let mut registration = Registration::parse(&call.fields, &*context.targets)?;
    let stored = context.find_webhook(call.id().webhook().0).await?;
    ask_receiver(context, &mut registration, stored.as_deref()).await?;
    let sent = registration.clone();
    let keys = keys(call, &registration);
    let id = call.id();
    let changed = match context
        .registry
        .update(&call.caller(), id.webhook(), registration)
        .await
    {
        Err(RegistryError::NotFound(_)) => return Err(id.missing("Webhook")),
        other => other?,
    };
    let fields = view::as_sent(view::recorded(&changed.webhook, keys), &sent);
    let fields = view::changed(fields, &changed, &sent.extras);
    Ok(Reply::Data(fields.into(), changed.warnings))
}

/// Asks the receiver whether it wants requests, if the registration says so.
async fn ask_receiver(
    context: &Context,
    registration: &mut Registration,
    stored: Option<&Webhook>,
) -> Result<(), HandlerError> {
    if registration.wish(stored).is_none() {
        return Ok(());
    }
    let client = &context.deliveries()?.client;
    handshake::before_saving(client, registration, stored)
        .await
        .map_err(|error| HandlerError::field("handshake", error.to_string()))
}

/// Which fields the answer to a change has: whoever names a field knows it.
fn keys(call: &Call, sent: &Registration) -> Keys {
    if sent.names_token_needed {
        Keys::Twelve
    } else {
        call.keys
    }
}

/// Answers whether there was such a webhook.
pub(crate) async fn delete(context: &Context, call: &Call) -> Answer {
    let deleted = context
        .registry
        .delete(&call.caller(), call.id().webhook())
        .await?;
    Ok(Reply::data(deleted))
}

/// Answers how many webhooks an app had, here and in Nextcloud.
pub(crate) async fn delete_by_app(context: &Context, call: &Call) -> Answer {
    let ours = context
        .registry
        .delete_by_app(&call.caller(), &call.parameter)
        .await? as u64;
    let in_nextcloud = match call.nextcloud {
        NextcloudPart::Deleted(count) => count,
        NextcloudPart::Nothing | NextcloudPart::Webhooks(_) | NextcloudPart::AppDisabled => 0,
    };
    Ok(Reply::Data(
        (ours + in_nextcloud).into(),
        call.nextcloud.warnings(),
    ))
}
