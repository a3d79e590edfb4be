//! What the format `zgw` needs to know: where a notification goes in an NRC, and what its URLs look like.
//!
//! The fields and their limits are those of the Notificaties API 1.0 of VNG Realisatie.

use serde_json::{Map, Value, json};

use super::placeholders::{Filled, Path};
use crate::registry::fields::{Fields, InvalidField, invalid, within};
use orw_model::{Action, EventClass};

pub(super) const FIELD: &str = "zgw";
const KNOWN: [&str; 6] = [
    "kanaal",
    "hoofdObject",
    "resource",
    "resourceUrl",
    "kenmerken",
    "updateActie",
];
/// The longest name of a kanaal, of a resource and of a kenmerk, in characters.
pub const LONGEST_KANAAL: usize = 50;
pub const LONGEST_RESOURCE: usize = 100;
const MOST_KENMERKEN: usize = 50;

/// The options of the format `zgw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zgw {
    pub kanaal: Filled,
    /// The same as `resource_url` if it is `None`.
    pub hoofd_object: Option<Filled>,
    /// The kind of the entity if it is `None`.
    pub resource: Option<Filled>,
    pub resource_url: Filled,
    pub kenmerken: Vec<(String, Path)>,
    /// What an Updated is called: rows do not tell whether a whole object was sent, or a part of it.
    pub update_actie: Actie,
}

/// What was done to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actie {
    Create,
    Update,
    PartialUpdate,
    Destroy,
}

impl Actie {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::PartialUpdate => "partial_update",
            Self::Destroy => "destroy",
        }
    }
}

impl Zgw {
    /// What an event of this class is called; `None` if the standard has no word for it.
    #[must_use]
    pub fn actie(&self, class: EventClass) -> Option<Actie> {
        match class.action() {
            Action::Created => Some(Actie::Create),
            Action::Updated => Some(self.update_actie),
            Action::Deleted => Some(Actie::Destroy),
            _ => None,
        }
    }

    pub(super) fn read(fields: &Fields) -> Result<Option<Self>, InvalidField> {
        let Some(given) = fields.nested(FIELD)? else {
            return Ok(None);
        };
        Self::of(&given).map(Some).map_err(within(FIELD))
    }

    fn of(given: &Fields) -> Result<Self, InvalidField> {
        given.only(&KNOWN)?;
        let url = |name| -> Result<Option<Filled>, InvalidField> {
            let Some(text) = given.text(name)? else {
                return Ok(None);
            };
            let filled = Filled::parse(name, text)?;
            if filled.is_url(&["https", "http"], false) {
                return Ok(Some(filled));
            }
            Err(invalid(
                name,
                "must be a URL that starts with https://, without a user, and with paths of the entity in braces after the host only, \
                 such as https://cloud.example/objects/{uuid}",
            ))
        };
        let required = |name: &str| invalid(name, "is required");
        let kanaal = Filled::parse("kanaal", given.text("kanaal")?.ok_or_else(|| required("kanaal"))?)?;
        at_most("kanaal", &kanaal, LONGEST_KANAAL)?;
        let resource = given
            .text("resource")?
            .map(|text| Filled::parse("resource", text))
            .transpose()?;
        if let Some(resource) = &resource {
            at_most("resource", resource, LONGEST_RESOURCE)?;
        }
        let mut kenmerken = Vec::new();
        for (name, path) in given.object("kenmerken")?.unwrap_or_default() {
            let length = name.chars().count();
            if !(1..=LONGEST_RESOURCE).contains(&length) || name.chars().any(char::is_control) {
                return Err(invalid(
                    "kenmerken",
                    format!(
                        "has a name that is empty, has control characters or more than {LONGEST_RESOURCE} characters"
                    ),
                ));
            }
            let field = format!("kenmerken.{name}");
            let Value::String(path) = path else {
                return Err(invalid(
                    field,
                    "must be a path of the entity, such as data.number",
                ));
            };
            kenmerken.push((name, Path::parse(&field, &path)?));
        }
        if kenmerken.len() > MOST_KENMERKEN {
            return Err(invalid(
                "kenmerken",
                format!("must have at most {MOST_KENMERKEN} entries"),
            ));
        }
        let update_actie = given.one_of("updateActie", &["update", "partial_update"], |name| match name {
            "update" => Some(Actie::Update),
            "partial_update" => Some(Actie::PartialUpdate),
            _ => None,
        })?;
        Ok(Self {
            kanaal,
            hoofd_object: url("hoofdObject")?,
            resource,
            resource_url: url("resourceUrl")?.ok_or_else(|| required("resourceUrl"))?,
            kenmerken,
            update_actie: update_actie.unwrap_or(Actie::Update),
        })
    }

    /// As it was sent, with what was left out.
    pub(super) fn shown(&self) -> Value {
        fn text(filled: Option<&Filled>) -> Option<&str> {
            filled.map(Filled::text)
        }
        let kenmerken: Map<String, Value> = self
            .kenmerken
            .iter()
            .map(|(name, path)| (name.clone(), path.as_str().into()))
            .collect();
        json!({
            "kanaal": self.kanaal.text(),
            "hoofdObject": text(self.hoofd_object.as_ref()),
            "resource": text(self.resource.as_ref()),
            "resourceUrl": self.resource_url.text(),
            "kenmerken": kenmerken,
            "updateActie": self.update_actie.name(),
        })
    }

    /// Every path that it reads, with its field.
    pub(super) fn paths(&self) -> impl Iterator<Item = (String, &Path)> {
        let filled = [
            ("kanaal", Some(&self.kanaal)),
            ("hoofdObject", self.hoofd_object.as_ref()),
            ("resource", self.resource.as_ref()),
            ("resourceUrl", Some(&self.resource_url)),
        ];
        filled
            .into_iter()
            .filter_map(|(name, filled)| Some((name, filled?)))
            .flat_map(|(name, filled)| filled.paths().map(move |path| (name.to_owned(), path)))
            .chain(
                self.kenmerken
                    .iter()
                    .map(|(name, path)| (format!("kenmerken.{name}"), path)),
            )
    }
}

/// What is longer already without its values can never be sent.
fn at_most(field: &str, filled: &Filled, most: usize) -> Result<(), InvalidField> {
    if filled.like().chars().count() > most {
        return Err(invalid(field, format!("must have at most {most} characters")));
    }
    Ok(())
}
