//! The state of an entity, independent of the table it came from and of the format in which it is delivered.

use serde_json::{Map, Value};

use crate::json;

/// The canonical JSON of one state of one entity. Every payload format is rendered from it. It is stored with the event, so its
/// shape is part of the database's format.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity(Map<String, Value>);

impl Entity {
    #[must_use]
    pub const fn new(fields: Map<String, Value>) -> Self {
        Self(fields)
    }

    #[must_use]
    pub const fn fields(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Sets the field `name` to `value`.
    pub fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// Takes the field `name` out.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name)
    }

    /// The text that is stored in the database.
    #[must_use]
    pub fn to_text(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    /// Reads the text that [`Self::to_text`] wrote.
    ///
    /// # Errors
    /// If `text` is not a JSON object.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        json::parse_deep_object(text, json::DEEPEST + json::AROUND).map(Self)
    }
}
