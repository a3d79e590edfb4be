//! Transitions: what a schema's annotation `x-openregister-lifecycle` says of a property with a state, and a change of that property.
//!
//! The annotation is in the schema's `configuration`: `{"field": "status", "initial": "draft", "transitions": {"publish": {"from":
//! ["draft"], "to": "published"}}}`. The names of the transitions are the actions that OpenRegister's users choose from.

use serde_json::{Map, Value};

use super::columns::Row;
use super::row::decode_text;

/// A change of the property that the annotation names.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The property's name.
    pub field: String,
    /// The property's value before and after; null if it was not set.
    pub from: Value,
    pub to: Value,
    /// The action, if the audit row of the change names it.
    pub action: Option<String>,
    /// The actions by which the annotation allows this change, in its order. There is none if somebody edited the property otherwise.
    pub declared: Vec<String>,
}

impl Transition {
    /// The transition as it stands in payloads, and in the database.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        map.insert("field".into(), self.field.clone().into());
        map.insert("from".into(), self.from.clone());
        map.insert("to".into(), self.to.clone());
        map.insert("action".into(), self.action.clone().into());
        map.insert("declaredActions".into(), self.declared.clone().into());
        Value::Object(map)
    }

    /// Reads what [`Self::to_value`] wrote.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<Self> {
        Some(Self {
            field: value.get("field")?.as_str()?.to_owned(),
            from: value.get("from")?.clone(),
            to: value.get("to")?.clone(),
            action: value.get("action")?.as_str().map(str::to_owned),
            declared: texts(value.get("declaredActions")?).map(str::to_owned).collect(),
        })
    }
}

/// What the annotation says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Annotation {
    field: String,
    actions: Vec<Allowed>,
}

/// An action, and from where to where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Allowed {
    action: String,
    from: Vec<String>,
    to: String,
}

impl Annotation {
    /// Reads the row of a schema. `None` if it has no annotation, or one that names no property.
    pub(crate) fn from_row(schema: &Row) -> Option<Self> {
        let configuration = schema.get("configuration").map(decode_text)?;
        let annotation = configuration.get("x-openregister-lifecycle")?;
        let field = annotation
            .get("field")?
            .as_str()
            .filter(|name| !name.is_empty())?;
        let transitions = annotation.get("transitions").and_then(Value::as_object);
        let actions = transitions
            .into_iter()
            .flatten()
            .filter_map(|(action, allowed)| {
                Some(Allowed {
                    action: action.clone(),
                    from: allowed
                        .get("from")
                        .into_iter()
                        .flat_map(texts)
                        .map(str::to_owned)
                        .collect(),
                    to: allowed.get("to")?.as_str()?.to_owned(),
                })
            })
            .collect();
        Some(Self {
            field: field.to_owned(),
            actions,
        })
    }

    /// Whether there is an action of this name.
    pub(crate) fn declares(&self, action: &str) -> bool {
        self.actions.iter().any(|allowed| allowed.action == action)
    }

    /// The transition between two states of an object of the schema, given by their fields, if the property changed.
    pub(crate) fn between(&self, old: &Map<String, Value>, new: &Map<String, Value>) -> Option<Transition> {
        let value = |object: &Map<String, Value>| {
            let data = object.get("data");
            data.and_then(|data| data.get(&self.field))
                .cloned()
                .unwrap_or(Value::Null)
        };
        let (from, to) = (value(old), value(new));
        if from == to {
            return None;
        }
        let leads = |allowed: &&Allowed| {
            to.as_str() == Some(&allowed.to)
                && from
                    .as_str()
                    .is_some_and(|from| allowed.from.iter().any(|known| known == from))
        };
        let declared = self
            .actions
            .iter()
            .filter(leads)
            .map(|allowed| allowed.action.clone());
        Some(Transition {
            declared: declared.collect(),
            field: self.field.clone(),
            from,
            to,
            action: None,
        })
    }
}

/// The texts of a list, or the one text.
fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let list = value.as_array().map(Vec::as_slice);
    list.unwrap_or(std::slice::from_ref(value))
        .iter()
        .filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn annotation(configuration: Value) -> Option<Annotation> {
        let row = json!({"id": 1, "configuration": configuration});
        Annotation::from_row(&row.as_object().unwrap().clone().into())
    }

    fn object(data: Value) -> Map<String, Value> {
        Map::from_iter([("data".to_owned(), data)])
    }

    const TICKET: &str = r#"{"x-openregister-lifecycle": {"field": "status", "initial": "new", "transitions": {
        "open": {"from": ["new"], "to": "open"}, "reopen": {"from": ["closed", "new"], "to": "open"},
        "close": {"from": "open", "to": "closed"}, "broken": {"to": 5}}}}"#;

    #[test]
    fn a_change_of_the_property_is_a_transition_with_what_was_declared() {
        // As text, as some generations store JSON.
        let ticket = annotation(json!(TICKET)).unwrap();
        for (from, to, declared) in [
            (
                json!({"status": "new"}),
                json!({"status": "open"}),
                vec!["open", "reopen"],
            ),
            (
                json!({"status": "open"}),
                json!({"status": "closed"}),
                vec!["close"],
            ),
            (json!({"status": "new"}), json!({"status": "closed"}), vec![]),
            (json!({}), json!({"status": "open"}), vec![]),
            (json!({"status": "open"}), json!({"status": null}), vec![]),
        ] {
            let found = ticket
                .between(&object(from.clone()), &object(to.clone()))
                .unwrap();
            assert_eq!(found.field, "status");
            assert_eq!((&found.from, &found.to), (&from["status"], &to["status"]));
            let declared: Vec<String> = declared.into_iter().map(str::to_owned).collect();
            assert_eq!((&found.action, &found.declared), (&None, &declared));
            assert_eq!(Transition::from_value(&found.to_value()), Some(found));
        }
        for (from, to) in [
            (
                json!({"status": "new", "title": "a"}),
                json!({"status": "new", "title": "b"}),
            ),
            (json!({}), json!({"status": null})),
        ] {
            assert_eq!(ticket.between(&object(from), &object(to)), None);
        }
        assert!(ticket.declares("close") && !ticket.declares("broken") && !ticket.declares("new"));
    }

    #[test]
    fn an_annotation_that_names_no_property_is_none() {
        for none in [
            Value::Null,
            json!("{"),
            json!({"objectNameField": "title"}),
            json!({"x-openregister-lifecycle": []}),
            json!({"x-openregister-lifecycle": {"field": ""}}),
            json!({"x-openregister-lifecycle": {"field": ["a"]}}),
        ] {
            assert_eq!(annotation(none.clone()), None, "{none}");
        }
        assert!(
            annotation(json!({"x-openregister-lifecycle": {"field": "a", "transitions": "x"}})).is_some()
        );
    }
}
