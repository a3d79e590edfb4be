//! OpenRegister's filters as filters of ours.
//!
//! A filter of OpenRegister names values of its own payload, all of which have to be equal: `{"register": "1", "action": ["created"]}`. What
//! names a kind or an action chooses among the classes; the rest becomes an `eventFilter`.

use orw_model::{Action, EntityKind, EventClass};
use serde_json::{Map, Value, json};

/// What the filters of a row come to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Translated {
    pub(super) classes: Vec<EventClass>,
    /// For `eventFilter`; empty if there is nothing left to compare.
    pub(super) filter: Map<String, Value>,
}

/// Translates the filters for these classes.
///
/// # Errors
/// The path that has no counterpart, and why.
pub(super) fn translate(filters: &Map<String, Value>, classes: &[EventClass]) -> Result<Translated, String> {
    let mut classes = classes.to_vec();
    let mut filter = Map::new();
    for (path, wanted) in filters {
        match path.as_str() {
            "objectType" => {
                let names = texts(path, wanted)?;
                classes.retain(|class| names.contains(&class.kind().name()));
            }
            "action" => {
                let names = texts(path, wanted)?;
                classes.retain(|class| names.iter().any(|name| is_action(name, class.action())));
            }
            _ => {
                let ours = path_of(path).ok_or_else(|| format!("the filter {path:?} has no counterpart"))?;
                filter.insert(ours, value(path, wanted)?);
                // Of other kinds OpenRegister's payload has no such value, so they never matched.
                classes.retain(|class| class.kind() == EntityKind::Object);
            }
        }
    }
    Ok(Translated { classes, filter })
}

/// Where our documents have what OpenRegister's payload has at a path.
fn path_of(path: &str) -> Option<String> {
    /// What an object has besides its properties, in OpenRegister's form below `@self`.
    const OWN: [&str; 8] = [
        "uuid",
        "id",
        "register",
        "schema",
        "owner",
        "organisation",
        "created",
        "updated",
    ];
    let own = |name: &str| OWN.contains(&name).then(|| format!("event.object.{name}"));
    match path.split_once('.') {
        None if path == "objectUuid" => Some("event.object.uuid".to_owned()),
        None if matches!(path, "register" | "schema") => own(path),
        Some(("object", "id" | "uuid")) => Some("event.object.uuid".to_owned()),
        Some(("object", rest)) => match rest.strip_prefix("@self.") {
            Some("id") => Some("event.object.uuid".to_owned()),
            Some(name) => own(name),
            None => Some(format!("event.object.data.{rest}")),
        },
        _ => None,
    }
}

fn value(path: &str, wanted: &Value) -> Result<Value, String> {
    let all = wanted
        .as_array()
        .map_or(std::slice::from_ref(wanted), Vec::as_slice);
    if all
        .iter()
        .any(|one| one.as_str().is_some_and(|text| text.starts_with('/')))
    {
        return Err(format!(
            "the filter {path:?} compares with a text that begins with /, which is a regular expression here"
        ));
    }
    match wanted {
        Value::String(_) | Value::Number(_) | Value::Bool(_) => Ok(wanted.clone()),
        Value::Array(list)
            if !list.is_empty()
                && list
                    .iter()
                    .all(|one| !one.is_object() && !one.is_array() && !one.is_null()) =>
        {
            Ok(json!({ "$in": list }))
        }
        _ => Err(format!(
            "the filter {path:?} compares with something other than texts, numbers and booleans"
        )),
    }
}

fn texts<'a>(path: &str, wanted: &'a Value) -> Result<Vec<&'a str>, String> {
    let list = match wanted {
        Value::String(one) => Some(vec![one.as_str()]),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        _ => None,
    };
    list.ok_or_else(|| format!("the filter {path:?} compares with something other than texts"))
}

/// The words of OpenRegister's versions for an action.
fn is_action(word: &str, action: Action) -> bool {
    let words: &[&str] = match action.name() {
        "Created" => &["create", "created"],
        "Updated" => &["update", "updated"],
        "Deleted" => &["delete", "deleted"],
        "Locked" => &["locked"],
        "Unlocked" => &["unlocked"],
        "Reverted" => &["reverted"],
        _ => &[],
    };
    words.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(filters: Value) -> Result<Translated, String> {
        let all = crate::import::classes::documented();
        translate(filters.as_object().unwrap(), &all)
    }

    #[test]
    fn kinds_and_actions_choose_classes_and_the_rest_is_compared() {
        let one = translated(
            json!({"objectType": "object", "action": ["created", "update"], "register": "1",
            "object.title": "x", "object.@self.schema": [1, 2], "objectUuid": "u"}),
        )
        .unwrap();
        assert_eq!(one.classes.len(), 2);
        let expected = json!({"event.object.register": "1", "event.object.data.title": "x",
            "event.object.schema": {"$in": [1, 2]}, "event.object.uuid": "u"});
        assert_eq!(Value::Object(one.filter), expected);
        assert_eq!(
            translated(json!({"objectType": ["schema"]}))
                .unwrap()
                .classes
                .len(),
            3
        );
        // What names an object's value never matched another kind.
        assert_eq!(translated(json!({"schema": "7"})).unwrap().classes.len(), 6);
    }

    #[test]
    fn what_has_no_counterpart_is_named() {
        for (filters, named) in [
            (json!({"timestamp": "2024"}), "timestamp"),
            (json!({"object.title": null}), "object.title"),
            (json!({"object.title": {"a": 1}}), "object.title"),
            (json!({"register.slug": "x"}), "register.slug"),
            (json!({"action": 7}), "action"),
            (json!({"object.path": ["a", "/b/"]}), "object.path"),
        ] {
            let refused = translated(filters).unwrap_err();
            assert!(refused.contains(named), "{refused}");
        }
    }
}
