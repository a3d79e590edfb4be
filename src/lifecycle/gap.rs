//! The only event of our own: a notice that events may be missing because changes of a table could not be captured.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use super::event::{Event, EventId, Lane};
use crate::capture::Gap;
use orw_model::{ActorSource, Entity, EntityKind, EventClass, Store};

/// What an event is called: one of the classes of OpenRegister, or our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    Class(EventClass),
    Gap,
}

/// The name of our own event in every format, in the log and in the database.
pub const GAP_EVENT: &str = "openregister-webhooks.gap";

impl EventType {
    /// The full name, as in payloads.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Class(class) => class.name(),
            Self::Gap => GAP_EVENT.to_owned(),
        }
    }

    /// The type with this full or short name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        if name == GAP_EVENT {
            return Some(Self::Gap);
        }
        EventClass::parse(name)
            .or_else(|| EventClass::from_short(name))
            .map(Self::Class)
    }
}

/// The short name, as it is stored and as the log shows it.
impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(class) => class.fmt(f),
            Self::Gap => f.write_str(GAP_EVENT),
        }
    }
}

/// The notice of one gap.
#[derive(Debug, Clone, PartialEq)]
pub struct GapNotice {
    pub id: EventId,
    pub lane: Lane,
    /// When the gap was recorded.
    pub at: DateTime<Utc>,
    /// The kind of entity whose events may be missing.
    pub kind: EntityKind,
    fields: Entity,
}

impl GapNotice {
    /// The notice of a gap. The same gap always gives the same id.
    #[must_use]
    pub fn of(gap: &Gap) -> Self {
        let kind = gap.table.store().kind();
        let (register, schema) = match gap.table.store() {
            Store::Magic { register, schema } => (Value::from(*register), Value::from(*schema)),
            _ => (Value::Null, Value::Null),
        };
        let time = |at: Option<DateTime<Utc>>| {
            at.map_or(Value::Null, |at| {
                at.to_rfc3339_opts(SecondsFormat::Micros, true).into()
            })
        };
        let fields: Map<String, Value> = [
            ("table", gap.name.clone().into()),
            ("entity", kind.name().into()),
            ("registerId", register),
            ("schemaId", schema),
            ("since", time(gap.since)),
            ("until", time(gap.until)),
            ("reason", gap.reason.clone().into()),
            ("remedy", gap.remedy.clone().into()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        Self {
            id: EventId::made(
                GAP_EVENT,
                &[
                    gap.name.as_bytes(),
                    &gap.id.to_be_bytes(),
                    &gap.at.timestamp_micros().to_be_bytes(),
                ],
            ),
            lane: Lane::row("gap", gap.table.name()),
            at: gap.at,
            kind,
            fields: Entity::new(fields),
        }
    }

    /// A stored notice; `None` if it does not say which kind of entity it is about.
    pub(super) fn from_stored(id: EventId, lane: Lane, at: DateTime<Utc>, fields: Entity) -> Option<Self> {
        let kind = fields.fields().get("entity")?.as_str()?;
        Some(Self {
            id,
            lane,
            at,
            kind: EntityKind::from_name(kind)?,
            fields,
        })
    }

    /// The fields as the column `new` stores them.
    pub(super) fn fields_text(&self) -> String {
        self.fields.to_text()
    }

    /// The fields of the payload: table, entity, registerId, schemaId, since, until, reason, remedy.
    #[must_use]
    pub fn fields(&self) -> &Map<String, Value> {
        self.fields.fields()
    }
}

/// What is stored for delivery: a lifecycle event or a notice of a gap.
#[allow(
    clippy::large_enum_variant,
    reason = "a gap is rare, and there are few at a time"
)]
#[derive(Debug, Clone)]
pub enum StoredEvent {
    Event(Box<Event>),
    Gap(GapNotice),
}

impl StoredEvent {
    /// The `webhook-id`.
    #[must_use]
    pub const fn id(&self) -> &EventId {
        match self {
            Self::Event(event) => &event.id,
            Self::Gap(notice) => &notice.id,
        }
    }

    #[must_use]
    pub const fn lane(&self) -> &Lane {
        match self {
            Self::Event(event) => &event.lane,
            Self::Gap(notice) => &notice.lane,
        }
    }

    /// When it happened.
    #[must_use]
    pub const fn at(&self) -> DateTime<Utc> {
        match self {
            Self::Event(event) => event.at,
            Self::Gap(notice) => notice.at,
        }
    }

    /// The source of the actor, as far as it is known.
    #[must_use]
    pub fn actor_source(&self) -> ActorSource {
        match self {
            Self::Event(event) => event.actor.source(),
            Self::Gap(_) => ActorSource::Nowhere,
        }
    }

    #[must_use]
    pub const fn event_type(&self) -> EventType {
        match self {
            Self::Event(event) => EventType::Class(event.class),
            Self::Gap(_) => EventType::Gap,
        }
    }
}

impl From<Event> for StoredEvent {
    fn from(event: Event) -> Self {
        Self::Event(Box::new(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orw_model::TableName;
    use serde_json::json;

    fn gap(name: &str) -> Gap {
        Gap {
            id: 1_700_000_000_000_001,
            name: name.to_owned(),
            table: TableName::parse(name, "oc_").unwrap(),
            since: DateTime::from_timestamp_micros(1_705_314_900_123_456),
            until: None,
            reason: "because".into(),
            remedy: "backfill".into(),
            at: DateTime::from_timestamp_micros(1_705_314_900_000_000).unwrap(),
        }
    }

    #[test]
    fn a_notice_says_what_is_missing_and_has_one_id() {
        let notice = GapNotice::of(&gap("oc_openregister_table_5_7"));
        assert_eq!(
            Value::Object(notice.fields().clone()),
            json!({"table": "oc_openregister_table_5_7", "entity": "object", "registerId": 5, "schemaId": 7,
                "since": "2024-01-15T10:35:00.123456Z", "until": null, "reason": "because", "remedy": "backfill"})
        );
        assert_eq!(notice.lane.as_str(), "gap:openregister_table_5_7");
        assert_eq!(notice, GapNotice::of(&gap("oc_openregister_table_5_7")));
        let other = Gap {
            id: 1_700_000_000_000_002,
            ..gap("oc_openregister_table_5_7")
        };
        assert_ne!(notice.id, GapNotice::of(&other).id);
        let read = Entity::from_text(&notice.fields.to_text()).unwrap();
        let again = GapNotice::from_stored(notice.id.clone(), notice.lane.clone(), notice.at, read);
        assert_eq!(again, Some(notice));
        for (table, kind) in [
            ("oc_openregister_audit_trails", EntityKind::Object),
            ("oc_openregister_objects", EntityKind::Object),
            ("oc_openregister_registers", EntityKind::Register),
        ] {
            let notice = GapNotice::of(&gap(table));
            assert_eq!(
                (notice.kind, &notice.fields()["registerId"]),
                (kind, &Value::Null)
            );
        }
    }

    #[test]
    fn types_have_two_names() {
        for name in ["ObjectCreatedEvent", r"OCA\OpenRegister\Event\ObjectCreatedEvent"] {
            let found = EventType::parse(name).unwrap();
            assert_eq!(found.to_string(), "ObjectCreatedEvent");
        }
        assert_eq!(EventType::parse(GAP_EVENT), Some(EventType::Gap));
        assert_eq!(EventType::Gap.name(), GAP_EVENT);
        assert_eq!(EventType::parse("Gap"), None);
    }
}
