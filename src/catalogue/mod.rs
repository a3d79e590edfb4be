//! The catalogue of events: which events there are, when each is sent, and what it carries.
//!
//! Guarantees: this is the only source of what the commands, the API, `docs/events.md` and `docs/schemas/` say about events. Every
//! example is a payload that the program's own code made of a row, and is valid against the event's JSON Schema.

mod dutch;
mod example;
mod field;
mod fields;
mod gap;
mod markdown;
mod occasion;
mod schema;

pub use example::{example, example_event, example_of, sample, test_event};
pub use markdown::markdown;
pub use occasion::when;
pub use schema::{format_schema, gap_schema, payload_schema};

use serde_json::{Value, json};

use crate::registry::Format;
use orw_model::EventClass;

/// The catalogue as JSON: one entry for each class.
#[must_use]
pub fn json() -> Value {
    EventClass::all()
        .map(|class| {
            json!({
                "class": class.name(),
                "entity": class.kind().name(),
                "action": class.action().name().to_ascii_lowercase(),
                "matchedByPatterns": !class.is_by_name_only(),
                "when": when(class),
                "schema": payload_schema(class, Format::Documented),
                "example": example(class),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
