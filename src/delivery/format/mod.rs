//! The shapes of a body.
//!
//! Guarantees: rendering is a pure function of the event and the registration, so every attempt sends the same bytes
//! as long as the registration is the same. What differs between attempts (attempt, time of sending, signature) is in
//! the headers alone; in particular the `attempt` of the `openregister` envelope is always 1 and its `timestamp` the
//! time of the change. Numbers keep their digits; empty maps are `{}`, but in the `openregister` envelope, where PHP writes `[]`.

mod cloudevents;
mod documented;
mod gap;
mod nextcloud;
mod openregister;

pub use documented::{data, document};

use serde_json::Value;

use crate::lifecycle::StoredEvent;
use crate::registry::{Format, Webhook, WebhookId};

/// A body and its `Content-Type`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    pub body: Vec<u8>,
    pub content_type: &'static str,
}

const JSON: &str = "application/json";

/// Renders `event` as `webhook` wants it.
#[must_use]
pub fn render(event: &StoredEvent, webhook: &Webhook) -> Rendered {
    shape(event, webhook.format, || sender(webhook))
}

/// Renders `event` as a webhook of this format would receive it.
#[must_use]
pub fn sample(event: &StoredEvent, format: Format) -> Rendered {
    shape(event, format, || Sender {
        id: WebhookId::FIRST.to_string(),
        name: "my-app".to_owned(),
    })
}

fn shape(event: &StoredEvent, format: Format, sender: impl FnOnce() -> Sender) -> Rendered {
    let value = match event {
        StoredEvent::Gap(notice) => gap::body(notice, format, sender),
        StoredEvent::Event(event) => match format {
            Format::Documented => documented::body(event),
            Format::Nextcloud => nextcloud::body(event),
            Format::CloudEvents => cloudevents::body(event),
            Format::OpenRegister => openregister::body(event, &sender()),
        },
    };
    let content_type = match format {
        Format::CloudEvents => cloudevents::CONTENT_TYPE,
        Format::Documented | Format::Nextcloud | Format::OpenRegister => JSON,
    };
    Rendered {
        body: value.to_string().into_bytes(),
        content_type,
    }
}

/// What the `openregister` envelope says of the webhook.
struct Sender {
    id: String,
    name: String,
}

impl Sender {
    fn shown(&self) -> Value {
        map([("id", self.id.clone().into()), ("name", self.name.clone().into())])
    }
}

fn sender(webhook: &Webhook) -> Sender {
    let id = webhook.id.to_string();
    Sender {
        name: webhook.app_id.clone().unwrap_or_else(|| format!("webhook {id}")),
        id,
    }
}

/// A JSON object of these fields, in this order.
fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}
