//! What several formats are made of.

use serde_json::Value;

use crate::registry::Webhook;

/// What the `openregister` envelope says of the webhook.
pub(super) struct Sender {
    pub(super) id: String,
    pub(super) name: String,
}

impl Sender {
    pub(super) fn shown(&self) -> Value {
        map([("id", self.id.clone().into()), ("name", self.name.clone().into())])
    }
}

pub(super) fn sender(webhook: &Webhook) -> Sender {
    let id = webhook.id.to_string();
    Sender {
        name: webhook.app_id.clone().unwrap_or_else(|| format!("webhook {id}")),
        id,
    }
}

/// A JSON object of these fields, in this order.
pub(super) fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}
