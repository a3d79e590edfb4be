//! The documents that filters are evaluated on.

use chrono::{DateTime, Utc};
use serde_json::{Map as JsonMap, Value as Json};

use orw_model::EventClass;

use crate::error::EvalError;
use crate::needs::Needs;
use crate::value::{TooDeep, Value};

/// The name of what moved, in payloads and documents.
const TRANSITION: &str = "transition";

/// What filters are evaluated on. It is built once for an event and serves all webhooks.
#[derive(Debug, Clone)]
pub struct Document<'a> {
    root: Value<'a>,
}

/// One state of an event's entity, in the documented form.
#[derive(Debug)]
pub struct State<'a> {
    /// The fields of the documented payload: `id`, `uuid`, `register`, …
    pub fields: &'a JsonMap<String, Json>,
    /// Values that replace the fields of these names: references that have several names ([`Value::alias`]).
    pub references: Vec<(&'static str, Value<'a>)>,
}

/// An event as filters see it.
#[derive(Debug)]
pub struct Subject<'a> {
    pub class: EventClass,
    /// The state after the change; for Deleted the last state.
    pub current: State<'a>,
    /// For Updated: the state before the change.
    pub old: Option<State<'a>>,
    /// For Transitioned: what moved.
    pub transition: Option<&'a Json>,
    /// `None` if nobody knows who caused the event.
    pub user: Option<User<'a>>,
    pub at: DateTime<Utc>,
}

/// Who caused an event.
#[derive(Debug, Clone, Copy)]
pub struct User<'a> {
    pub uid: &'a str,
    pub display_name: &'a str,
    /// The ids of the user's groups.
    pub groups: &'a [String],
}

impl<'a> Document<'a> {
    /// The document that `json` holds.
    ///
    /// # Errors
    /// If it is neither an object nor a list, or is nested too deep.
    pub fn from_json(json: &'a Json) -> Result<Self, EvalError> {
        let root = Value::from_json(json).map_err(|e| EvalError(format!("document: {e}")))?;
        if !root.is_array() {
            return Err(EvalError(format!(
                "document: needs an object, but is a value of type {}",
                root.type_name()
            )));
        }
        Ok(Self { root })
    }

    /// A document with these top-level parts.
    #[must_use]
    pub fn new(parts: impl IntoIterator<Item = (&'a str, Value<'a>)>) -> Self {
        Self {
            root: Value::map(parts),
        }
    }

    /// The document of an event, as far as `needs` says that filters read it:
    ///
    /// `{"event": {"class", ["newObject", "oldObject",] "object" [, "transition"]}, "data": the documented data, "user": {"uid", "displayName",
    /// "groups"} | null, "group", "groups", "time"}`, with the entity's own name in the place of `object`.
    ///
    /// # Errors
    /// If a state is nested too deep. Such an event matches no filter that reads that state.
    pub fn of_event(subject: &Subject<'a>, needs: &Needs) -> Result<Self, TooDeep> {
        let mut parts: Vec<(&'static str, Value<'a>)> = Vec::with_capacity(6);
        if needs.wants("event") {
            let mut event = vec![("class", Value::text(subject.class.name()))];
            event.extend(subject.states("event", needs)?);
            parts.push(("event", Value::map(event)));
        }
        if needs.wants("data") {
            parts.push(("data", Value::map(subject.states("data", needs)?)));
        }
        if needs.user() {
            let groups = || -> Value<'a> {
                let ids = subject.user.map_or(&[][..], |user| user.groups);
                Value::List(ids.iter().map(|id| Value::text(id.as_str())).collect())
            };
            let user = subject.user.map_or(Value::Null, |user| {
                Value::map([
                    ("uid", Value::text(user.uid)),
                    ("displayName", Value::text(user.display_name)),
                    ("groups", groups()),
                ])
            });
            parts.push(("user", user));
            parts.push(("group", groups()));
            parts.push(("groups", groups()));
        }
        if needs.wants("time") {
            parts.push(("time", Value::Int(subject.at.timestamp())));
        }
        Ok(Self::new(parts))
    }

    pub(crate) const fn root(&self) -> &Value<'a> {
        &self.root
    }
}

impl<'a> Subject<'a> {
    /// The states of the entity, and what moved, under their names in the payload.
    fn states(&self, part: &str, needs: &Needs) -> Result<Vec<(&'static str, Value<'a>)>, TooDeep> {
        let mut states = Vec::new();
        for (name, state) in self.class.kind().states(&self.current, self.old.as_ref()) {
            let path = format!("{part}.{name}");
            if needs.wants(&path) {
                states.push((name, state.value(&path, needs)?));
            }
        }
        if let Some(transition) = self.transition
            && needs.wants(&format!("{part}.{TRANSITION}"))
        {
            states.push((TRANSITION, Value::from_state(transition)?));
        }
        Ok(states)
    }
}

impl<'a> State<'a> {
    fn value(&self, path: &str, needs: &Needs) -> Result<Value<'a>, TooDeep> {
        let mut fields = Vec::new();
        for (key, json) in self.fields {
            if !needs.wants(&format!("{path}.{key}")) {
                continue;
            }
            let reference = self.references.iter().find(|(name, _)| name == key);
            let value = match reference {
                Some((_, value)) => value.clone(),
                None => Value::from_state(json)?,
            };
            fields.push((key.as_str(), value));
        }
        Ok(Value::map(fields))
    }
}
