//! What several formats say of the entity of an event.

use serde_json::Value;

use super::documented;
use crate::lifecycle::Event;

/// The state after the change as the format `documented` shows it; for Deleted the last state.
pub(super) fn current(event: &Event) -> Value {
    documented::document(event.class.kind(), event.states.current())
}

/// The uuid; if there is none, the lane, which tells one entity from every other.
pub(super) fn uuid_or_lane(event: &Event) -> &str {
    event
        .states
        .current()
        .fields()
        .get("uuid")
        .and_then(Value::as_str)
        .filter(|uuid| !uuid.is_empty())
        .unwrap_or_else(|| event.lane.as_str())
}
