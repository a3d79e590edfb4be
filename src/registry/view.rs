//! Webhooks as JSON: what the API and the command line show. No secret is shown, except in the answer to the request that set it.

use std::time::Duration;

use chrono::Utc;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::audit::AuditEntry;
use super::change::Changed;
use super::extras::Extras;
use super::handshake::Handshake;
use super::headers::{MASK, looks_secret};
use super::registration::Registration;
use super::webhook::{Status, Webhook};
use orw_egress::ClientCertificate;

/// Which fields Nextcloud's answers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Up to Nextcloud 32: eleven, up to `authData`.
    Eleven,
    /// Since Nextcloud 33: `tokenNeeded` follows.
    Twelve,
}

/// The fields of Nextcloud's answers, in its order.
pub(crate) fn recorded(webhook: &Webhook, keys: Keys) -> Map<String, Value> {
    let auth_method = webhook.auth.stored().0.as_str();
    let auth_data = if webhook.auth_data_set {
        MASK.into()
    } else {
        Value::Null
    };
    let fields = [
        ("id", webhook.id.0.into()),
        ("appId", webhook.app_id.clone().into()),
        ("userId", webhook.user_id.clone().into()),
        ("httpMethod", webhook.http_method.clone().into()),
        ("uri", webhook.uri.clone().into()),
        ("event", webhook.event.as_str().into()),
        ("eventFilter", php_lists(webhook.event_filter.clone())),
        (
            "userIdFilter",
            webhook.user_id_filter.clone().unwrap_or_default().into(),
        ),
        ("headers", headers(webhook.headers.as_deref())),
        ("authMethod", auth_method.into()),
        ("authData", auth_data),
    ];
    let token_needed = (keys == Keys::Twelve).then(|| ("tokenNeeded", webhook.token_needed.clone()));
    fields
        .into_iter()
        .chain(token_needed)
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Shows headers and credentials that an update left out as absent, as Nextcloud does, although they stay: later answers show
/// them again.
pub(crate) fn as_sent(mut fields: Map<String, Value>, asked: &Registration) -> Map<String, Value> {
    if asked.headers.is_none() {
        fields.insert("headers".to_owned(), Value::Null);
    }
    if asked.auth_data.is_none() {
        fields.insert("authData".to_owned(), Value::Null);
    }
    fields
}

/// Adds those of our own fields that the request sent; and the signing secret, if this change set it and the request sent any
/// of our fields.
pub(crate) fn changed(
    mut fields: Map<String, Value>,
    changed: &Changed,
    sent: &Extras,
) -> Map<String, Value> {
    let own = own(&changed.webhook);
    let [template, zgw, nlgov] = sent.options.given();
    let asked = [
        ("format", sent.format.is_some()),
        ("dataMode", sent.data_mode.is_some()),
        ("template", template),
        ("zgw", zgw),
        ("nlgov", nlgov),
        ("clientCertificate", sent.client_certificate.is_some()),
        ("legacySignature", sent.legacy_signature.is_some()),
        ("gapEvents", sent.gap_events.is_some()),
        ("handshake", sent.handshake.is_some()),
        ("enabled", sent.enabled.is_some()),
        ("rateLimit", sent.per_second.is_some() || sent.burst.is_some()),
        ("timeoutSeconds", sent.timeout.is_some()),
        ("maxInFlight", sent.max_in_flight.is_some()),
        ("ordering", sent.ordering.is_some()),
        ("retry", sent.max_attempts.is_some() || sent.schedule.is_some()),
    ];
    for (name, asked) in asked {
        if asked && let Some(value) = own.get(name) {
            fields.insert(name.to_owned(), value.clone());
        }
    }
    if sent.any()
        && let Some(secret) = &changed.secret
    {
        fields.insert("secret".to_owned(), shown(secret));
    }
    fields
}

/// Every field but the secrets: the answer of our own routes.
pub(crate) fn whole(webhook: &Webhook) -> Map<String, Value> {
    let mut fields = recorded(webhook, Keys::Twelve);
    fields.extend(own(webhook));
    fields
}

/// A row of the audit table.
pub(crate) fn audited(entry: &AuditEntry) -> Value {
    json!({
        "at": entry.at.to_rfc3339(),
        "who": entry.who,
        "client": entry.client,
        "action": entry.action,
        "webhook": entry.webhook.0,
        "detail": entry.detail,
    })
}

/// A signing secret, in the one answer that shows it.
pub(crate) fn shown(secret: &SecretString) -> Value {
    secret.expose_secret().into()
}

/// Why a webhook was paused, if its receiver no longer allows requests.
fn paused_by(webhook: &Webhook) -> Option<String> {
    let made = webhook.handshake.as_ref()?;
    made.withdrawn(Utc::now()).map(ToOwned::to_owned)
}

fn own(webhook: &Webhook) -> Map<String, Value> {
    let (reason, since) = match &webhook.status {
        Status::Enabled => (None, None),
        Status::Paused => (paused_by(webhook), None),
        Status::Disabled { reason, since } => (Some(reason.clone()), Some(since.to_rfc3339())),
    };
    let [template, zgw, nlgov] = webhook.options.shown();
    let seconds = |duration: &Duration| match duration.subsec_millis() {
        0 => json!(duration.as_secs()),
        _ => json!(duration.as_secs_f64()),
    };
    let fields = [
        ("format", json!(webhook.format.as_str())),
        ("dataMode", json!(webhook.data_mode.as_str())),
        template,
        zgw,
        nlgov,
        (
            "clientCertificate",
            certificate(webhook.client_certificate.as_deref()),
        ),
        ("legacySignature", json!(webhook.legacy_signature)),
        ("gapEvents", json!(webhook.gap_events)),
        (
            "handshake",
            webhook.handshake.as_ref().map_or(Value::Null, Handshake::shown),
        ),
        ("enabled", json!(webhook.collects())),
        (
            "status",
            json!({"state": webhook.status.name(), "reason": reason, "since": since}),
        ),
        (
            "rateLimit",
            json!({"perSecond": webhook.limits.per_second, "burst": webhook.limits.burst}),
        ),
        ("timeoutSeconds", seconds(&webhook.limits.timeout)),
        ("maxInFlight", json!(webhook.limits.max_in_flight)),
        ("ordering", json!(webhook.ordering.as_str())),
        (
            "retry",
            json!({
                "maxAttempts": webhook.retry.max_attempts,
                "schedule": webhook.retry.schedule.iter().map(seconds).collect::<Vec<_>>(),
            }),
        ),
        ("secrets", json!(webhook.secrets.len())),
        ("revision", json!(webhook.revision)),
        ("createdAt", json!(webhook.created_at.to_rfc3339())),
        ("updatedAt", json!(webhook.updated_at.to_rfc3339())),
    ];
    fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// What says which certificate it is, and when it has to be replaced.
fn certificate(certificate: Option<&ClientCertificate>) -> Value {
    certificate.map_or(Value::Null, |certificate| {
        json!({
            "subject": certificate.subject(),
            "fingerprint": certificate.shown_fingerprint(),
            "notAfter": certificate.not_after().to_rfc3339(),
            "key": MASK,
        })
    })
}

fn headers(headers: Option<&[(String, SecretString)]>) -> Value {
    let Some(headers) = headers else {
        return Value::Null;
    };
    let map = headers
        .iter()
        .map(|(name, value)| {
            let shown = if looks_secret(name) {
                MASK
            } else {
                value.expose_secret()
            };
            (name.clone(), Value::from(shown))
        })
        .collect();
    php_lists(Value::Object(map))
}

/// Turns maps into lists where PHP does: if their keys are 0, 1, 2, … in this order; the empty map, too.
pub(crate) fn php_lists(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            if map.keys().enumerate().all(|(at, key)| *key == at.to_string()) {
                Value::Array(map.into_iter().map(|(_, value)| php_lists(value)).collect())
            } else {
                Value::Object(
                    map.into_iter()
                        .map(|(key, value)| (key, php_lists(value)))
                        .collect(),
                )
            }
        }
        Value::Array(list) => Value::Array(list.into_iter().map(php_lists).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_numbered_maps_are_lists() {
        assert_eq!(
            php_lists(json!({"a": {}, "b": {"0": {"1": 2}}})),
            json!({"a": [], "b": [{"1": 2}]})
        );
        assert_eq!(php_lists(json!({"1": 1, "0": 0})), json!({"1": 1, "0": 0}));
    }
}
