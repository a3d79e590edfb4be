//! `nlgov`: the NL GOV profile for CloudEvents 1.0, in structured or in binary mode.
//!
//! Guarantees: `source` is the URN of the profile, `type` a reverse domain name without an organisation, and what is in a header is
//! encoded as the HTTP binding of CloudEvents wants it.

use chrono::{DateTime, SecondsFormat, Utc};
use hyper::header::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value};

use super::entity;
use super::parts::map;
use super::rendered::{JSON, LONGEST_VALUE, RenderError, Rendered, within};
use super::{cloudevents, documented};
use crate::lifecycle::{Event, GAP_EVENT, GapNotice};
use crate::registry::{ContentMode, EventSource, Filled, NlGov};
use orw_model::{Action, EntityKind};

/// What the HTTP binding encodes in a header, besides everything outside of ASCII.
const IN_HEADER: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');
/// The meaning of `sequence`: digits of the same number, and a later event of the same subject has a larger one. It is not
/// `Integer`, which the extension reserves for sequences without gaps.
const SEQUENCE_TYPE: &str = "ascending";

/// The attributes but for `specversion`, in the order in which they are written.
type Attributes = Vec<(&'static str, String)>;

pub(super) fn event(
    event: &Event,
    nlgov: &NlGov,
    source: &EventSource,
    sequence: i64,
) -> Result<Rendered, RenderError> {
    let kind = event.class.kind();
    let mut current = entity::current(event);
    let filled = |field: &'static str, url: &Filled| -> Result<String, RenderError> {
        within(field, url.fill_url(field, &current)?, LONGEST_VALUE)
    };
    let dataref = match (&nlgov.dataref, event.class.action()) {
        // There is nothing at its place any more.
        (_, Action::Deleted) => None,
        (Some(url), _) => Some(filled("nlgov.dataref", url)?),
        (None, _) => place(kind, &current),
    };
    let dataschema = nlgov
        .dataschema
        .as_ref()
        .map(|url| filled("nlgov.dataschema", url))
        .transpose()?;
    let action = event.class.action().name();
    let mut attributes = first(
        event.id.as_str(),
        source,
        event_type(nlgov, &mut current, kind.name(), action)?,
        entity::uuid_or_lane(event),
        event.at,
    )?;
    attributes.extend(dataref.map(|url| ("dataref", url)));
    attributes.extend(dataschema.map(|url| ("dataschema", url)));
    attributes.push(("sequence", format!("{sequence:020}")));
    attributes.push(("sequencetype", SEQUENCE_TYPE.to_owned()));
    attributes.push(("eventclass", event.class.name()));
    Ok(written(
        nlgov.mode,
        attributes,
        Value::Object(documented::data(event)),
    ))
}

/// A notice of a gap. Its source is the same system, since the same consumers are told.
pub(super) fn gap(notice: &GapNotice, nlgov: &NlGov, source: &EventSource) -> Result<Rendered, RenderError> {
    let mut nothing = Value::Object(Map::new());
    // Paths of an entity have no value here.
    let event_type = event_type(nlgov, &mut nothing, "gap", "recorded")
        .unwrap_or_else(|_| "nl.openregister.gap.recorded".to_owned());
    let mut attributes = first(
        notice.id.as_str(),
        source,
        event_type,
        notice.lane.as_str(),
        notice.at,
    )?;
    attributes.push(("eventclass", GAP_EVENT.to_owned()));
    let data = map([("gap", Value::Object(notice.fields().clone()))]);
    Ok(written(nlgov.mode, attributes, data))
}

fn first(
    id: &str,
    source: &EventSource,
    event_type: String,
    subject: &str,
    at: DateTime<Utc>,
) -> Result<Attributes, RenderError> {
    Ok(vec![
        ("id", id.to_owned()),
        ("source", source.urn().ok_or(RenderError::NoSource)?),
        ("type", event_type),
        ("subject", subject.to_owned()),
        ("time", at.to_rfc3339_opts(SecondsFormat::Micros, true)),
    ])
}

/// The type, each value of it as a label of a domain name.
fn event_type(nlgov: &NlGov, entity: &mut Value, kind: &str, action: &str) -> Result<String, RenderError> {
    if let Value::Object(fields) = entity {
        fields.insert("kind".to_owned(), kind.into());
        fields.insert("action".to_owned(), action.into());
    }
    let label = |value: &str| -> String {
        value
            .to_lowercase()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect()
    };
    let filled = nlgov.event_type.fill_with("nlgov.type", entity, label)?;
    within("nlgov.type", filled, LONGEST_VALUE)
}

/// Where OpenRegister's API shows the entity, relative to Nextcloud; `None` if its ids are not known.
fn place(kind: EntityKind, entity: &Value) -> Option<String> {
    let text = |name: &str| match entity.get(name)? {
        Value::String(text) if !text.is_empty() => Some(utf8_percent_encode(text, IN_PATH).to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match kind {
        EntityKind::Object => Some(format!(
            "/apps/openregister/api/objects/{}/{}/{}",
            text("registerId")?,
            text("schemaId")?,
            text("uuid")?
        )),
        _ => Some(format!("/apps/openregister/api/{}s/{}", kind.name(), text("id")?)),
    }
}

/// What is encoded of an id in a path.
const IN_PATH: &AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

fn written(mode: ContentMode, attributes: Attributes, data: Value) -> Rendered {
    match mode {
        ContentMode::Structured => {
            let mut fields = Map::new();
            fields.insert("specversion".into(), "1.0".into());
            for (name, value) in attributes {
                fields.insert(name.into(), value.into());
            }
            fields.insert("datacontenttype".into(), JSON.into());
            fields.insert("data".into(), data);
            Rendered {
                body: Value::Object(fields).to_string().into_bytes(),
                content_type: cloudevents::CONTENT_TYPE,
                headers: Vec::new(),
            }
        }
        ContentMode::Binary => Rendered {
            body: data.to_string().into_bytes(),
            content_type: JSON,
            headers: std::iter::once(("specversion", "1.0".to_owned()))
                .chain(attributes)
                .filter_map(|(name, value)| header(name, &value))
                .collect(),
        },
    }
}

/// A `ce-` header. Encoded values are ASCII, and names are our own, so there always is one.
fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let encoded = utf8_percent_encode(value, IN_HEADER).to_string();
    Some((
        HeaderName::try_from(format!("ce-{name}")).ok()?,
        HeaderValue::try_from(encoded).ok()?,
    ))
}
