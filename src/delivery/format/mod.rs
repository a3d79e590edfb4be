//! The formats of a request's body.
//!
//! Guarantees: rendering is a pure function of the event and the registration, so every attempt sends the same bytes
//! as long as the registration is the same. What differs between attempts (attempt, time of sending, signature) is in
//! the headers only: the `attempt` of the `openregister` envelope is always 1, and its `timestamp` is the time of the change. Numbers
//! keep their digits. With `dataMode: reference` a body has ids, class and time, and no personal data. Empty maps are `{}`, except in the `openregister` envelope, where PHP writes `[]`.

mod cloudevents;
mod documented;
mod gap;
mod nextcloud;
mod openregister;
mod parts;
mod reference;

pub use documented::{data, document};

use self::parts::{Sender, sender};
use crate::lifecycle::StoredEvent;
use crate::registry::{DataMode, Format, Webhook, WebhookId};

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
    shape(event, webhook.format, webhook.data_mode, || sender(webhook))
}

/// Renders `event` as a webhook of this format and mode would receive it.
#[must_use]
pub fn sample(event: &StoredEvent, format: Format, mode: DataMode) -> Rendered {
    shape(event, format, mode, || Sender {
        id: WebhookId::FIRST.to_string(),
        name: "my-app".to_owned(),
    })
}

fn shape(event: &StoredEvent, format: Format, mode: DataMode, sender: impl FnOnce() -> Sender) -> Rendered {
    let reduced;
    let event = match (event, mode) {
        (StoredEvent::Event(event), DataMode::Reference) => {
            reduced = StoredEvent::Event(Box::new(reference::of(event)));
            &reduced
        }
        _ => event,
    };
    let value = match event {
        StoredEvent::Gap(notice) => gap::body(notice, format, sender),
        StoredEvent::Event(event) => match format {
            Format::Documented => {
                return Rendered {
                    body: documented::bytes(event),
                    content_type: JSON,
                };
            }
            Format::Nextcloud => nextcloud::body(event),
            Format::CloudEvents => cloudevents::body(event),
            Format::OpenRegister => openregister::body(event, &sender(), mode),
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
