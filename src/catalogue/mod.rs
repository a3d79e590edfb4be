//! The catalogue of events: what there is, when it comes, what it carries.
//!
//! Guarantees: one source. The commands, the API, `docs/events.md` and `docs/schemas/` show it; every example is a payload that the
//! program's own code made of a row, and is valid against the JSON Schema beside it.

mod example;
mod fields;
mod markdown;
mod schema;

pub use example::{example, example_event, example_of, test_event};
pub use markdown::markdown;
pub use schema::{format_schema, gap_schema, payload_schema};

use serde_json::{Value, json};

use crate::registry::Format;
use orw_model::{Action, EntityKind, EventClass};

/// When an event of this class comes, in one sentence.
#[must_use]
pub fn when(class: EventClass) -> String {
    let kind = class.kind();
    let one = match kind {
        EntityKind::Agent | EntityKind::Application | EntityKind::Object | EntityKind::Organisation => "An",
        _ => "A",
    };
    let soft = match kind {
        EntityKind::Object => " (softly or for good; a repeated delete and the purge after it give nothing)",
        EntityKind::Conversation => " (softly or for good; the purge of a deleted one gives nothing)",
        _ => "",
    };
    match class.action() {
        Action::Created => match kind {
            EntityKind::Object => {
                "An object was created: through the API, by an import, or by a bulk upsert; not when it was moved between \
                 storages."
                    .to_owned()
            }
            _ => format!("{one} {kind} was created."),
        },
        Action::Updated => match kind {
            EntityKind::Object => "An object was changed, restored after a delete, or moved to another register or schema; \
                 a write that changed nothing but housekeeping columns gives nothing."
                .to_owned(),
            _ => format!("{one} {kind} was changed; a write that changed nothing gives nothing."),
        },
        Action::Deleted => format!("{one} {kind} was deleted{soft}. It carries the last state."),
        Action::Locked => "An object was locked, or its lock was renewed.".to_owned(),
        Action::Unlocked => {
            "The lock of an object ended: somebody unlocked it, or an update ended it. An unlock of an object that was not locked \
             gives nothing."
                .to_owned()
        }
        Action::Reverted => "An object was taken back to an earlier version; ObjectUpdatedEvent comes with it.".to_owned(),
    }
}

/// The catalogue as JSON: an entry a class.
#[must_use]
pub fn json() -> Value {
    EventClass::all()
        .map(|class| {
            json!({
                "class": class.name(),
                "entity": class.kind().name(),
                "action": class.action().name().to_ascii_lowercase(),
                "when": when(class),
                "schema": payload_schema(class, Format::Documented),
                "example": example(class),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
