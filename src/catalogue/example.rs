//! An example of every event, made by the program of a row as OpenRegister writes it.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::capture::Gap;
use crate::delivery::format::{self, RenderError, Rendered};
use crate::lifecycle::{Actor, ActorState, Event, EventId, EventType, GapNotice, Lane, States, StoredEvent};
use crate::registry::{BodyOptions, DataMode, EventSource, Format};
use orw_model::{
    Action, ActorSource, Entity, EntityKind, EventClass, Reference, Schema, TableName, Transition,
    object_entity, other_entity,
};

/// The payload of an event of this class, in the format `documented`.
#[must_use]
pub fn example(class: EventClass) -> Value {
    let mut body = Map::new();
    body.insert("event".into(), class.name().into());
    body.insert("data".into(), Value::Object(format::data(&example_event(class))));
    Value::Object(body)
}

/// An event of this class.
#[must_use]
pub fn example_event(class: EventClass) -> Event {
    let kind = class.kind();
    let (before, after) = (entity(kind, &Map::new()), entity(kind, &change(kind)));
    let states = match class.action() {
        Action::Updated => States::Both {
            new: after,
            old: before,
        },
        Action::Locked => States::One(locked(before)),
        Action::Reverted => States::One(after),
        Action::Created | Action::Deleted | Action::Unlocked => States::One(before),
        Action::Transitioned => moved(kind),
    };
    Event {
        id: EventId::from_stored("evt_0123456789abcdef0123456789abcdef".into()),
        class,
        lane: Lane::row(kind.name(), "123"),
        // 2024-01-15T10:35:00Z
        at: DateTime::<Utc>::from_timestamp_nanos(1_705_314_900_000_000_000),
        states,
        actor: ActorState::Known(actor(class.actor_source())),
        pid: 0,
    }
}

/// The user who caused the event, if OpenRegister records that.
fn actor(source: ActorSource) -> Option<Actor> {
    (source != ActorSource::Nowhere).then(|| Actor {
        uid: "alice".into(),
        display_name: Some("Alice Adams".into()),
        groups: vec!["editors".into()],
        source,
    })
}

/// An event of this type.
#[must_use]
pub fn example_of(wanted: EventType) -> StoredEvent {
    match wanted {
        EventType::Class(class) => example_event(class).into(),
        EventType::Gap => StoredEvent::Gap(example_gap()),
    }
}

/// A gap notice about the table of the objects in the other examples.
#[allow(clippy::expect_used, reason = "the literal is the name of a magic table")]
fn example_gap() -> GapNotice {
    // 2024-01-15T10:35:00Z
    let at = DateTime::<Utc>::from_timestamp_nanos(1_705_314_900_000_000_000);
    let name = "oc_openregister_table_5_7";
    let mut notice = GapNotice::of(&Gap {
        id: 1_705_314_900_000_001,
        name: name.to_owned(),
        table: TableName::parse(name, "oc_").expect("a name of a table"),
        since: Some(at - TimeDelta::minutes(95)),
        until: Some(at),
        reason: "the outbox was full: what was written to it between 2024-01-15 09:00:00 and 2024-01-15 10:35:00 UTC is not captured"
            .to_owned(),
        remedy: format!("openregister-webhooks backfill --table {name}"),
        at,
    });
    notice.id = EventId::from_stored("evt_0123456789abcdef0123456789abcdef".into());
    notice
}

/// An event of this type that happens now, to test a webhook.
///
/// # Errors
/// If the system has no randomness for its id.
pub fn test_event(wanted: EventType) -> Result<StoredEvent, crate::random::NoRandom> {
    let random: [u8; 16] = crate::random::random()?;
    let (id, at) = (EventId::made("test", &[&random]), Utc::now());
    Ok(match wanted {
        EventType::Class(class) => Event {
            id,
            at,
            ..example_event(class)
        }
        .into(),
        EventType::Gap => {
            let mut notice = example_gap();
            (notice.id, notice.at) = (id, at);
            StoredEvent::Gap(notice)
        }
    })
}

/// An object that somebody published, and what moved.
fn moved(kind: EntityKind) -> States {
    let mut changes = change(kind);
    changes.insert("status".into(), "published".into());
    States::Moved {
        new: entity(kind, &changes),
        transition: Transition {
            field: "status".into(),
            from: "draft".into(),
            to: "published".into(),
            action: None,
            declared: vec!["publish".into()],
        },
    }
}

fn locked(mut object: Entity) -> Entity {
    let lock =
        r#"{"user":"alice","created":"2024-01-15T10:40:00+00:00","expiration":"2024-01-15T11:40:00+00:00"}"#;
    object.set("locked", read(lock).into());
    object
}

/// The row of an example as an entity, after `changes`.
fn entity(kind: EntityKind, changes: &Map<String, Value>) -> Entity {
    let mut row = read(row(kind));
    row.extend(changes.clone());
    let row = row.into();
    let table = TableName::parse("openregister_table_5_7", "").filter(|_| kind == EntityKind::Object);
    let Some(table) = table else {
        return other_entity(kind, &row);
    };
    let schema = Schema::from_row(&read(row_of_objects_schema()).into());
    let register = Reference {
        id: 5,
        uuid: Some("3f2504e0-4f89-41d3-9a0c-0305e82c3301".into()),
        slug: Some("my-register".into()),
    };
    object_entity(
        &table,
        &row,
        Some(&Arc::new(register)),
        schema.map(Arc::new).as_ref(),
    )
}

/// The columns that the update of an example changes.
fn change(kind: EntityKind) -> Map<String, Value> {
    read(match kind {
        EntityKind::Object => {
            r#"{"title":"Updated object","count":6,"_version":"0.0.2","_updated":"2024-01-15T10:35:00"}"#
        }
        EntityKind::Register | EntityKind::Schema | EntityKind::Source | EntityKind::Configuration => {
            r#"{"title":"New title","version":"0.0.2"}"#
        }
        EntityKind::Conversation => r#"{"title":"New title"}"#,
        EntityKind::Application | EntityKind::Agent | EntityKind::View | EntityKind::Organisation => {
            r#"{"name":"New name"}"#
        }
    })
}

/// Reads a literal of this file. All of them are JSON objects: a test renders each one.
fn read(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

const fn row_of_objects_schema() -> &'static str {
    r#"{"id":7,"uuid":"6ba7b810-9dad-41d1-80b4-00c04fd430c8","slug":"my-schema","properties":{
        "title":{"type":"string"},"publishedOn":{"type":"string","format":"date"},"count":{"type":"integer"},
        "price":{"type":"number"},"tags":{"type":"array"},"address":{"type":"object"}}}"#
}

/// Rows as PostgreSQL's `row_to_json` writes them.
#[rustfmt::skip]
const fn row(kind: EntityKind) -> &'static str {
    match kind {
        EntityKind::Object => r#"{"_id":123,"_uuid":"550e8400-e29b-41d4-a716-446655440000","_slug":null,
            "_uri":"https://cloud.example/index.php/apps/openregister/api/objects/5/7/550e8400-e29b-41d4-a716-446655440000",
            "_version":"0.0.1","_register":"5","_schema":"7","_owner":"alice",
            "_organisation":"0f8fad5b-d9cb-469f-a165-70867728950e","_application":null,"_folder":null,
            "_name":"Example object","_description":null,"_summary":null,"_image":null,"_size":null,
            "_schema_version":null,"_created":"2024-01-15T10:30:00","_updated":"2024-01-15T10:30:00","_expires":null,
            "_files":null,"_relations":null,"_locked":null,"_authorization":null,"_validation":null,"_deleted":null,
            "_geo":null,"_retention":null,"_groups":null,"_tmlo":null,
            "title":"Example object","published_on":"2024-01-15T00:00:00","count":5,"price":9.90,"tags":["a","b"],
            "address":{"street":"Kerkstraat","number":12}}"#,
        EntityKind::Register => r#"{"id":5,"uuid":"3f2504e0-4f89-41d3-9a0c-0305e82c3301","version":"0.0.1",
            "title":"My register","description":"Who is who","schemas":[7],"source":"internal","table_prefix":"",
            "updated":"2024-01-15T10:30:00","created":"2024-01-15T10:30:00","folder":"181","slug":"my-register",
            "owner":null,"application":null,"organisation":"0f8fad5b-d9cb-469f-a165-70867728950e",
            "authorization":null,"deleted":null,"groups":null,"configuration":null,"languages":null}"#,
        EntityKind::Schema => r#"{"id":7,"uuid":"6ba7b810-9dad-41d1-80b4-00c04fd430c8","version":"0.0.1",
            "title":"My schema","description":null,"summary":null,"required":["title"],
            "properties":{"title":{"type":"string"},"count":{"type":"integer"}},"updated":"2024-01-15T10:30:00",
            "created":"2024-01-15T10:30:00","hard_validation":true,"archive":{},"source":"internal","max_depth":0,
            "slug":"my-schema","owner":null,"application":null,
            "organisation":"0f8fad5b-d9cb-469f-a165-70867728950e","authorization":null,"deleted":null,"icon":null,
            "groups":null,"immutable":false,"configuration":{"objectNameField":"title"},"facets":null,
            "searchable":true,"all_of":null,"one_of":null,"any_of":null,"hooks":null}"#,
        EntityKind::Application => r#"{"id":2,"uuid":"7c9e6679-7425-40de-944b-e07fc1f90ae7","name":"My application",
            "description":null,"version":"1.0.0","organisation":"0f8fad5b-d9cb-469f-a165-70867728950e","active":true,
            "configurations":[],"registers":[5],"schemas":[7],"storage_quota":null,"bandwidth_quota":null,
            "request_quota":null,"owner":"alice","created":"2024-01-15T10:30:00","updated":"2024-01-15T10:30:00",
            "groups":["editors"],"authorization":null}"#,
        EntityKind::Agent => r#"{"id":2,"uuid":"16fd2706-8baf-433b-82eb-8c7fada847da","name":"My agent",
            "description":null,"type":"chat","provider":"ollama","model":"mistral","prompt":"You are helpful.",
            "temperature":0.7,"max_tokens":1000,"configuration":null,
            "organisation":"0f8fad5b-d9cb-469f-a165-70867728950e","owner":"alice","active":true,"enable_rag":false,
            "rag_search_mode":"hybrid","rag_num_sources":5,"rag_include_files":false,"rag_include_objects":false,
            "request_quota":null,"token_quota":null,"groups":null,"created":"2024-01-15T10:30:00",
            "updated":"2024-01-15T10:30:00","views":null,"search_files":true,"search_objects":true,
            "is_private":true,"invited_users":null,"tools":null,"user":null}"#,
        EntityKind::Source => r#"{"id":2,"uuid":"9b2e5a4c-1f3d-4c6b-8e7a-0d9c8b7a6f5e","title":"My source",
            "description":null,"version":"0.0.1","database_url":"postgres://reader:geheim@archive/source",
            "type":"internal","updated":"2024-01-15T10:30:00","created":"2024-01-15T10:30:00",
            "organisation":"0f8fad5b-d9cb-469f-a165-70867728950e"}"#,
        EntityKind::Configuration => r#"{"id":2,"title":"My configuration","description":"","type":"default",
            "registers":[5],"version":"0.0.1","owner":"alice","created":"2024-01-15T10:30:00",
            "updated":"2024-01-15T10:30:00","app":"openregister","schemas":[7],"objects":null,"source_type":"local",
            "source_url":null,"local_version":null,"remote_version":null,"last_checked":null,"auto_update":false,
            "notification_groups":null,"github_repo":null,"github_branch":"main","github_path":null,
            "uuid":"fb744537-d249-44dc-8e4e-9c9aa52e4cf1","organisation":"0f8fad5b-d9cb-469f-a165-70867728950e",
            "views":null,"agents":null,"sources":null,"applications":null,"is_local":true,"sync_enabled":false,
            "sync_interval":24,"last_sync_date":null,"sync_status":"never","openregister":null,"mappings":null}"#,
        EntityKind::View => r#"{"id":2,"uuid":"8863d2d8-f1c6-44d6-b981-6f4d8be72476","name":"My view",
            "description":"","owner":"alice","is_public":false,"is_default":false,"query":{"registers":[5]},
            "favored_by":["alice"],"created":"2024-01-15T10:30:00","updated":"2024-01-15T10:30:00",
            "organisation":"0f8fad5b-d9cb-469f-a165-70867728950e"}"#,
        EntityKind::Conversation => r#"{"id":2,"uuid":"f0dee1bf-df74-409c-9278-faa9b4e4a38d","title":"My conversation",
            "user_id":"alice","organisation":"0f8fad5b-d9cb-469f-a165-70867728950e","agent_id":2,"metadata":"[]",
            "deleted_at":null,"created":"2024-01-15T10:30:00","updated":"2024-01-15T10:30:00"}"#,
        EntityKind::Organisation => r#"{"id":3,"uuid":"0f8fad5b-d9cb-469f-a165-70867728950e","name":"My organisation",
            "description":"","created":"2024-01-15T10:30:00","updated":"2024-01-15T10:30:00","users":["alice"],
            "owner":"alice","slug":"my-organisation","authorization":"{\"register\":{\"create\":[\"admin\"]}}",
            "parent":null,"active":true,"status":"active","environment":"production","provisioned_at":null,
            "suspended_at":null,"deprovisioned_at":null}"#,
    }
}

/// The body that a webhook of this format would receive, with options such as a registration may have.
///
/// # Errors
/// If the format has no words for this event.
pub fn sample(event: &StoredEvent, format: Format, mode: DataMode) -> Result<Rendered, RenderError> {
    let source = match format {
        Format::NlGov => EventSource {
            oin: Some("00000001823288444000".to_owned()),
            name: Some("openregister".to_owned()),
        },
        _ => EventSource::default(),
    };
    format::sample(event, (format, mode), &BodyOptions::example(), &source)
}
