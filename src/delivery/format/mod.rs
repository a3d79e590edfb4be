//! The formats of a request's body.
//!
//! Guarantees: rendering is a pure function of the event and the registration, so every attempt sends the same bytes
//! as long as the registration is the same. What differs between attempts (attempt, time of sending, signature) is in
//! the headers only: the `attempt` of the `openregister` envelope is always 1, and its `timestamp` is the time of the change. Numbers
//! keep their digits. With `dataMode: reference` a body has ids, class and time, and no personal data. Empty maps are `{}`, except in
//! the `openregister` envelope, where PHP writes `[]`.

mod cloudevents;
mod documented;
mod entity;
mod gap;
mod nextcloud;
mod nlgov;
mod openregister;
mod parts;
mod reference;
mod rendered;
mod template;
mod zgw;

pub use documented::{data, document, part_of_document};
pub use rendered::{RenderError, Rendered};
pub use template::variables;

use self::parts::{Sender, sender};
use self::rendered::JSON;
use crate::lifecycle::{GAP_EVENT, StoredEvent};
use crate::registry::{BodyOptions, DataMode, EventSource, Format, NlGov, Webhook, WebhookId};

/// What a body is made by, besides the event.
struct Recipe<'a> {
    format: Format,
    mode: DataMode,
    options: &'a BodyOptions,
    source: &'a EventSource,
    sender: &'a dyn Fn() -> Sender,
    /// The event's place among all events.
    sequence: i64,
}

/// Renders `event` as `webhook` wants it. `sequence` grows with the events of one entity.
///
/// # Errors
/// If this event cannot be written in the webhook's format.
pub fn render(event: &StoredEvent, webhook: &Webhook, sequence: i64) -> Result<Rendered, RenderError> {
    Recipe {
        format: webhook.format,
        mode: webhook.data_mode,
        options: &webhook.options,
        source: &webhook.source,
        sender: &|| sender(webhook),
        sequence,
    }
    .render(event)
}

/// Renders `event` as a webhook of this format and mode would receive it, with these options.
///
/// # Errors
/// If this event cannot be written in this format.
pub fn sample(
    event: &StoredEvent,
    (format, mode): (Format, DataMode),
    options: &BodyOptions,
    source: &EventSource,
) -> Result<Rendered, RenderError> {
    Recipe {
        format,
        mode,
        options,
        source,
        sender: &|| Sender {
            id: WebhookId::FIRST.to_string(),
            name: "my-app".to_owned(),
        },
        sequence: 1,
    }
    .render(event)
}

impl Recipe<'_> {
    fn render(&self, event: &StoredEvent) -> Result<Rendered, RenderError> {
        let reduced;
        let event = match (event, self.mode) {
            (StoredEvent::Event(event), DataMode::Reference) => {
                reduced = StoredEvent::Event(Box::new(reference::of(event)));
                &reduced
            }
            _ => event,
        };
        if self.format == Format::Template {
            return self.by_template(event);
        }
        let value = match (event, self.format) {
            (_, Format::NlGov) => return self.by_profile(event),
            (StoredEvent::Gap(_), Format::Zgw) => {
                return Err(RenderError::Unfit("zgw", GAP_EVENT.to_owned()));
            }
            (StoredEvent::Gap(notice), format) => gap::body(notice, format, self.sender),
            (StoredEvent::Event(event), Format::Nextcloud) => nextcloud::body(event),
            (StoredEvent::Event(event), Format::CloudEvents) => cloudevents::body(event, self.source),
            (StoredEvent::Event(event), Format::OpenRegister) => {
                openregister::body(event, &(self.sender)(), self.mode)
            }
            (StoredEvent::Event(event), Format::Zgw) => {
                let zgw = self.options.zgw.as_deref();
                zgw::body(event, zgw.ok_or(RenderError::NoOptions("zgw"))?)?
            }
            (StoredEvent::Event(event), Format::Documented | Format::Template) => {
                return Ok(Rendered {
                    body: documented::bytes(event),
                    content_type: JSON,
                    headers: Vec::new(),
                });
            }
        };
        Ok(Rendered {
            body: value.to_string().into_bytes(),
            content_type: match self.format {
                Format::CloudEvents => cloudevents::CONTENT_TYPE,
                _ => JSON,
            },
            headers: Vec::new(),
        })
    }

    fn by_template(&self, event: &StoredEvent) -> Result<Rendered, RenderError> {
        let template = self.options.template.as_ref();
        let body = template
            .ok_or(RenderError::NoOptions("template"))?
            .render(&variables(event))?;
        Ok(Rendered {
            body: body.into_bytes(),
            content_type: JSON,
            headers: Vec::new(),
        })
    }

    fn by_profile(&self, event: &StoredEvent) -> Result<Rendered, RenderError> {
        let usual;
        let nlgov = match self.options.nlgov.as_deref() {
            Some(nlgov) => nlgov,
            None => {
                usual = NlGov::default();
                &usual
            }
        };
        match event {
            StoredEvent::Event(event) => nlgov::event(event, nlgov, self.source, self.sequence),
            StoredEvent::Gap(notice) => nlgov::gap(notice, nlgov, self.source),
        }
    }
}
