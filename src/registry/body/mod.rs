//! What formats need to know besides their name: the text of a template, the place in an NRC, the attributes of a CloudEvent.
//!
//! Guarantee: what a request asks for can be rendered for every class that it is registered for, as far as that is known before there is
//! an event and as long as the settings stay; afterwards an event that cannot be rendered waits like one that cannot be sent.

mod nlgov;
mod placeholders;
mod source;
mod zgw;

pub use nlgov::{ContentMode, NlGov};
pub use placeholders::{Filled, NoValue, Path};
pub use source::EventSource;
pub use zgw::{Actie, LONGEST_KANAAL, LONGEST_RESOURCE, Zgw};

use std::sync::Arc;

use serde_json::{Map, Value};

use super::event_pattern::EventPattern;
use super::fields::{Fields, InvalidField, invalid};
use super::format::{DataMode, Format};
use crate::template::Template;

const TEMPLATE: &str = "template";
/// What `dataMode: reference` leaves of an entity, by the paths of a documented one.
const OF_REFERENCE: [&str; 8] = [
    "id",
    "uuid",
    "register",
    "schema",
    "registerId",
    "registerUuid",
    "schemaId",
    "schemaUuid",
];

/// The options of all formats; each stays with a registration while another format is in use.
#[derive(Debug, Clone, Default)]
pub struct BodyOptions {
    pub template: Option<Template>,
    pub zgw: Option<Arc<Zgw>>,
    pub nlgov: Option<Arc<NlGov>>,
}

impl BodyOptions {
    /// Options such as a registration may have, for examples.
    #[must_use]
    pub fn example() -> Self {
        let fields = serde_json::json!({
            "template": "{\"text\": {{ class ~ \" of \" ~ entity ~ \" \" ~ data[entity].uuid }}}",
            "zgw": {
                "kanaal": "objecten",
                "resourceUrl": "https://cloud.example/apps/openregister/api/{uuid}",
                "kenmerken": {"uuid": "uuid"},
            },
        });
        match fields {
            Value::Object(fields) => Self::of_request(&Fields::json(fields)).unwrap_or_default(),
            _ => Self::default(),
        }
    }

    /// What a request says of them; also what is stored.
    ///
    /// # Errors
    /// The first fault.
    pub fn of_request(fields: &Fields) -> Result<Self, InvalidField> {
        let template = fields
            .text(TEMPLATE)?
            .map(|text| Template::parse(text).map_err(|error| invalid(TEMPLATE, error.to_string())))
            .transpose()?;
        Ok(Self {
            template,
            zgw: Zgw::read(fields)?.map(Arc::new),
            nlgov: NlGov::read(fields)?.map(Arc::new),
        })
    }

    /// Takes those that a request names.
    pub(super) fn replace(&mut self, sent: Self) {
        self.template = sent.template.or_else(|| self.template.take());
        self.zgw = sent.zgw.or_else(|| self.zgw.take());
        self.nlgov = sent.nlgov.or_else(|| self.nlgov.take());
    }

    /// Each by its name, as answers show it; null where there is none.
    pub(super) fn shown(&self) -> [(&'static str, Value); 3] {
        [
            (
                TEMPLATE,
                self.template
                    .as_ref()
                    .map_or(Value::Null, |template| template.text().into()),
            ),
            (
                zgw::FIELD,
                self.zgw.as_ref().map_or(Value::Null, |zgw| zgw.shown()),
            ),
            (
                nlgov::FIELD,
                self.nlgov.as_ref().map_or(Value::Null, |nlgov| nlgov.shown()),
            ),
        ]
    }

    /// Whether each of [`Self::shown`] is there.
    pub(super) fn given(&self) -> [bool; 3] {
        [self.template.is_some(), self.zgw.is_some(), self.nlgov.is_some()]
    }

    /// The text that is stored; `None` if there is nothing.
    pub(super) fn to_text(&self) -> Option<String> {
        let fields: Map<String, Value> = self
            .shown()
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        (!fields.is_empty()).then(|| Value::Object(fields).to_string())
    }

    /// Reads what [`Self::to_text`] wrote.
    pub(super) fn from_text(text: &str) -> Result<Self, String> {
        let fields = orw_model::json::parse_object(text).map_err(|error| error.to_string())?;
        Self::of_request(&Fields::json(fields)).map_err(|error| error.to_string())
    }

    /// Whether a webhook of this format can render its events with these options.
    pub(super) fn check(
        &self,
        (format, mode): (Format, DataMode),
        event: &EventPattern,
        gap_events: bool,
        source: &EventSource,
    ) -> Result<(), InvalidField> {
        let missing = |field: &str, what: &str| {
            invalid(
                field,
                format!("is required by the format {}: {what}", format.as_str()),
            )
        };
        match format {
            Format::Template if self.template.is_none() => {
                return Err(missing(TEMPLATE, "the text of the body, with {{ … }} for values"));
            }
            Format::Zgw => {
                let zgw = self
                    .zgw
                    .as_ref()
                    .ok_or_else(|| missing(zgw::FIELD, "an object with at least kanaal and resourceUrl"))?;
                check_classes(zgw, event)?;
                if gap_events {
                    return Err(invalid(
                        "gapEvents",
                        "must be false with the format zgw, which has no words for a gap",
                    ));
                }
            }
            Format::NlGov if source.urn().is_none() => {
                return Err(invalid(
                    "format",
                    "nlgov needs the settings ORW_OIN and ORW_EVENT_SOURCE, which say who the source of events is",
                ));
            }
            _ => {}
        }
        if mode == DataMode::Reference {
            self.check_reference(format)?;
        }
        Ok(())
    }

    fn check_reference(&self, format: Format) -> Result<(), InvalidField> {
        let paths: Vec<(String, &Path)> = match (format, &self.zgw, &self.nlgov) {
            (Format::Zgw, Some(zgw), _) => zgw
                .paths()
                .map(|(name, path)| (format!("{}.{name}", zgw::FIELD), path))
                .collect(),
            (Format::NlGov, _, Some(nlgov)) => nlgov
                .paths()
                .map(|(name, path)| (format!("{}.{name}", nlgov::FIELD), path))
                .collect(),
            _ => Vec::new(),
        };
        match paths
            .into_iter()
            .find(|(_, path)| !OF_REFERENCE.contains(&path.as_str()))
        {
            Some((field, path)) => Err(invalid(
                field,
                format!(
                    "names {}, which dataMode reference does not tell: only {}",
                    path.as_str(),
                    OF_REFERENCE.join(", ")
                ),
            )),
            None => Ok(()),
        }
    }
}

fn check_classes(zgw: &Zgw, event: &EventPattern) -> Result<(), InvalidField> {
    match event.classes().iter().find(|class| zgw.actie(**class).is_none()) {
        None => Ok(()),
        Some(class) => Err(invalid(
            "event",
            format!(
                "{class} cannot be sent in the format zgw: a notification's actie is create, update, partial_update or destroy, and none \
                 of them means this; register for events with Created, Updated or Deleted"
            ),
        )),
    }
}

#[cfg(test)]
mod tests;
