//! The state of an entity, independent of the table it came from and of the format in which it is delivered.

use std::fmt;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use crate::json;
use crate::names::Names;
use crate::object_fields::Picked;
use crate::object_state::ObjectState;

/// The canonical JSON of one state of one entity. Every payload format is rendered from it. It is stored with the event, so its
/// shape is part of the database's format.
///
/// That of an object is made when it is first looked at; its text is made without it.
#[derive(Clone)]
pub struct Entity {
    fields: OnceLock<Map<String, Value>>,
    object: Option<ObjectState>,
}

impl Entity {
    #[must_use]
    pub fn new(fields: Map<String, Value>) -> Self {
        Self {
            fields: OnceLock::from(fields),
            object: None,
        }
    }

    pub(crate) const fn of_object(object: ObjectState) -> Self {
        Self {
            fields: OnceLock::new(),
            object: Some(object),
        }
    }

    #[must_use]
    pub fn fields(&self) -> &Map<String, Value> {
        self.fields.get_or_init(|| self.make())
    }

    fn make(&self) -> Map<String, Value> {
        let all = Picked {
            fields: &Names::All,
            properties: &Names::All,
        };
        let object = self.object.as_ref();
        object.map(|object| object.fields(all)).unwrap_or_default()
    }

    /// The fields with these names, and of the field `data` of an object those with the names of `properties`. No more than that is made,
    /// unless it is made already.
    #[must_use]
    pub fn pick(&self, fields: &Names<'_>, properties: &Names<'_>) -> Map<String, Value> {
        match (self.fields.get(), &self.object) {
            (None, Some(object)) => object.fields(Picked { fields, properties }),
            _ => {
                let picked = self.fields().iter().filter(|(name, _)| fields.has(name));
                picked
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect()
            }
        }
    }

    /// Sets the field `name` to `value`.
    pub fn set(&mut self, name: &str, value: Value) {
        let mut fields = self.fields.take().unwrap_or_else(|| self.make());
        fields.insert(name.to_owned(), value);
        *self = Self::new(fields);
    }

    /// Takes the field `name` out.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        let mut fields = self.fields.take().unwrap_or_else(|| self.make());
        let taken = fields.shift_remove(name);
        *self = Self::new(fields);
        taken
    }

    /// The text that is stored in the database.
    #[must_use]
    pub fn to_text(&self) -> String {
        let written = self.object.as_ref().and_then(ObjectState::to_text);
        written.unwrap_or_else(|| json::to_text(self.fields()))
    }

    /// Reads the text that [`Self::to_text`] wrote.
    ///
    /// # Errors
    /// If `text` is not a JSON object.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        json::parse_deep_object(text, json::DEEPEST + json::AROUND).map(Self::new)
    }
}

impl PartialEq for Entity {
    fn eq(&self, other: &Self) -> bool {
        self.fields() == other.fields()
    }
}

impl fmt::Debug for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Entity").field(self.fields()).finish()
    }
}
