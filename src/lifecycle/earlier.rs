//! The states that an object had before: they tell a revert from two saves within one second.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};

use orw_model::Entity;

/// What identifies the properties of one state of an object, whatever their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct StateDigest([u8; 32]);

impl StateDigest {
    /// The digest of the properties of an object. One that is null counts as missing: adding a column to a table changes no object.
    pub(crate) fn of(object: &Entity) -> Self {
        let mut hash = Sha256::new();
        let properties = object.fields().get("data").and_then(Value::as_object);
        let mut set: Vec<(&String, &Value)> = properties
            .into_iter()
            .flatten()
            .filter(|(_, value)| !value.is_null())
            .collect();
        set.sort_unstable_by_key(|(name, _)| *name);
        for (name, value) in set {
            add_text(&mut hash, b'k', name);
            add(&mut hash, value);
        }
        Self(hash.finalize().into())
    }
}

/// Adds a value so that no two different values add the same. The depth of an entity's values is bounded (`orw_model::json::DEEPEST`).
fn add(hash: &mut Sha256, value: &Value) {
    match value {
        Value::Array(items) => {
            hash.update([b'[']);
            hash.update(items.len().to_be_bytes());
            items.iter().for_each(|item| add(hash, item));
        }
        Value::Object(map) => {
            hash.update([b'{']);
            hash.update(map.len().to_be_bytes());
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            for key in keys {
                add_text(hash, b'k', key);
                add(hash, &map[key]);
            }
        }
        Value::String(text) => add_text(hash, b's', text),
        Value::Null | Value::Bool(_) | Value::Number(_) => add_text(hash, b'v', &value.to_string()),
    }
}

fn add_text(hash: &mut Sha256, tag: u8, text: &str) {
    hash.update([tag]);
    hash.update(text.len().to_be_bytes());
    hash.update(text.as_bytes());
}

/// The states of one object, each with the time of the change that led to it or away from it.
#[derive(Debug, Default, Clone)]
pub struct EarlierStates(Vec<(DateTime<Utc>, StateDigest)>);

impl EarlierStates {
    /// Adds the state that `object` shows; `at` is the time of a change that led to it or away from it.
    pub fn add(&mut self, at: DateTime<Utc>, object: &Entity) {
        self.0.push((at, StateDigest::of(object)));
    }

    /// Whether the object was in this state before `at`. If the outbox is read a second time, the events of the change itself and of
    /// those after it are stored already.
    pub(crate) fn contains(&self, state: StateDigest, at: DateTime<Utc>) -> bool {
        self.0.iter().any(|(then, known)| *known == state && *then < at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(properties: Value) -> Entity {
        let mut object = Entity::new(serde_json::Map::new());
        object.set("data", properties);
        object.set("version", json!("0.0.7"));
        object
    }

    fn digest(properties: Value) -> StateDigest {
        StateDigest::of(&object(properties))
    }

    #[test]
    fn the_same_properties_have_the_same_digest_and_others_another() {
        let one = digest(json!({"a": 1, "b": {"x": [1, "2"], "y": null}}));
        assert_eq!(
            one,
            digest(json!({"c": null, "b": {"y": null, "x": [1, "2"]}, "a": 1}))
        );
        for other in [
            json!({"a": 1, "b": {"x": ["2", 1], "y": null}}),
            json!({"a": "1", "b": {"x": [1, "2"], "y": null}}),
            json!({"a": 1, "b": {"x": [1, "2"]}}),
            json!({"a": 1, "b": {"x": [[1], "2"], "y": null}}),
            json!({}),
            Value::Null,
        ] {
            assert_ne!(one, digest(other.clone()), "{other}");
        }
    }

    #[test]
    fn only_what_was_before_counts() {
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        let mut states = EarlierStates::default();
        let state = digest(json!({"a": 1}));
        states.add(at(5), &object(json!({"a": 1})));
        assert!(states.contains(state, at(6)));
        assert!(!states.contains(state, at(5)));
        assert!(!states.contains(digest(json!({"a": 2})), at(6)));
    }
}
