//! `zgw`: a notification for an NRC such as Open Notificaties, after the Notificaties API 1.0 of VNG Realisatie.
//!
//! Guarantee: a body that is given has every required field within its limits.

use chrono::SecondsFormat;
use serde_json::{Map, Value};

use super::entity;
use super::parts::map;
use super::rendered::{LONGEST_VALUE, RenderError, within};
use crate::lifecycle::Event;
use crate::registry::{Filled, LONGEST_KANAAL, LONGEST_RESOURCE, Zgw};

/// The longest value of a kenmerk, in characters.
const LONGEST_KENMERK: usize = 1000;

pub(super) fn body(event: &Event, zgw: &Zgw) -> Result<Value, RenderError> {
    let actie = zgw
        .actie(event.class)
        .ok_or_else(|| RenderError::Unfit("zgw", event.class.to_string()))?;
    let current = entity::current(event);
    let short = |field: &'static str, filled: &Filled, most: usize| -> Result<String, RenderError> {
        within(field, filled.fill(field, &current)?, most)
    };
    let kanaal = short("zgw.kanaal", &zgw.kanaal, LONGEST_KANAAL)?;
    let resource = match &zgw.resource {
        Some(resource) => short("zgw.resource", resource, LONGEST_RESOURCE)?,
        None => event.class.kind().name().to_owned(),
    };
    let url = |field: &'static str, filled: &Filled| -> Result<String, RenderError> {
        within(field, filled.fill_url(field, &current)?, LONGEST_VALUE)
    };
    let resource_url = url("zgw.resourceUrl", &zgw.resource_url)?;
    let hoofd_object = match &zgw.hoofd_object {
        Some(filled) => url("zgw.hoofdObject", filled)?,
        None => resource_url.clone(),
    };
    let mut kenmerken = Map::new();
    for (name, path) in &zgw.kenmerken {
        // A kenmerk without a value is left out: the standard has no empty ones.
        if let Some(value) = path.find(&current) {
            kenmerken.insert(
                name.clone(),
                within("zgw.kenmerken", value, LONGEST_KENMERK)?.into(),
            );
        }
    }
    Ok(map([
        ("kanaal", kanaal.into()),
        ("hoofdObject", hoofd_object.into()),
        ("resource", resource.into()),
        ("resourceUrl", resource_url.into()),
        ("actie", actie.name().into()),
        (
            "aanmaakdatum",
            event.at.to_rfc3339_opts(SecondsFormat::Micros, true).into(),
        ),
        ("kenmerken", kenmerken.into()),
    ]))
}
