//! What the format `nlgov` needs to know: the NL GOV profile for CloudEvents 1.0.

use serde_json::{Value, json};

use super::placeholders::{Filled, Path};
use crate::registry::fields::{Fields, InvalidField, invalid, within};

pub(super) const FIELD: &str = "nlgov";
const KNOWN: [&str; 4] = ["type", "mode", "dataref", "dataschema"];
/// No organisation is named in it, since the profile asks for names that outlive organisations.
const TYPE: &str = "nl.openregister.{kind}.{action}";

/// Where the attributes of a CloudEvent are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentMode {
    /// In the body, beside `data`.
    Structured,
    /// In headers `ce-…`; the body is `data`.
    Binary,
}

/// The options of the format `nlgov`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NlGov {
    /// `type`; it may name `kind` and `action` besides paths of the entity.
    pub event_type: Filled,
    pub mode: ContentMode,
    /// The entity in OpenRegister's API; `None`: as OpenRegister's routes are, relative to Nextcloud.
    pub dataref: Option<Filled>,
    pub dataschema: Option<Filled>,
}

impl Default for NlGov {
    fn default() -> Self {
        Self {
            event_type: Filled::plain(TYPE),
            mode: ContentMode::Structured,
            dataref: None,
            dataschema: None,
        }
    }
}

impl NlGov {
    pub(super) fn read(fields: &Fields) -> Result<Option<Self>, InvalidField> {
        let Some(given) = fields.nested(FIELD)? else {
            return Ok(None);
        };
        Self::of(&given).map(Some).map_err(within(FIELD))
    }

    fn of(given: &Fields) -> Result<Self, InvalidField> {
        given.only(&KNOWN)?;
        let event_type = Filled::parse("type", given.text("type")?.unwrap_or(TYPE))?;
        if !is_reverse_domain(&event_type.like()) {
            return Err(invalid(
                "type",
                "must be a reverse domain name in lower case, such as nl.zaken.{kind}.{action}",
            ));
        }
        let mode = given.one_of("mode", &["structured", "binary"], |name| match name {
            "structured" => Some(ContentMode::Structured),
            "binary" => Some(ContentMode::Binary),
            _ => None,
        })?;
        let url = |name, relative: bool| -> Result<Option<Filled>, InvalidField> {
            let Some(text) = given.text(name)? else {
                return Ok(None);
            };
            let filled = Filled::parse(name, text)?;
            if filled.is_url(&["https", "http", "urn"], relative) {
                Ok(Some(filled))
            } else {
                Err(invalid(
                    name,
                    "must be a URL such as https://cloud.example/objects/{uuid}, without a user, and without braces before its path",
                ))
            }
        };
        Ok(Self {
            event_type,
            mode: mode.unwrap_or(ContentMode::Structured),
            dataref: url("dataref", true)?,
            dataschema: url("dataschema", false)?,
        })
    }

    /// As it was sent, with what was left out.
    pub(super) fn shown(&self) -> Value {
        fn text(filled: Option<&Filled>) -> Option<&str> {
            filled.map(Filled::text)
        }
        json!({
            "type": self.event_type.text(),
            "mode": match self.mode {
                ContentMode::Structured => "structured",
                ContentMode::Binary => "binary",
            },
            "dataref": text(self.dataref.as_ref()),
            "dataschema": text(self.dataschema.as_ref()),
        })
    }

    /// Every path of the entity that it reads, with its field.
    pub(super) fn paths(&self) -> impl Iterator<Item = (String, &Path)> {
        let filled = [
            ("type", Some(&self.event_type)),
            ("dataref", self.dataref.as_ref()),
            ("dataschema", self.dataschema.as_ref()),
        ];
        filled
            .into_iter()
            .filter_map(|(name, filled)| Some((name, filled?)))
            .flat_map(|(name, filled)| filled.paths().map(move |path| (name.to_owned(), path)))
            .filter(|(name, path)| name != "type" || !matches!(path.as_str(), "kind" | "action"))
    }
}

fn is_reverse_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.contains('.') && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.split('.').all(label)
}
