//! All that an object's entity is made of.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::columns::Row;
use super::object_fields::object_fields;
use super::object_text::magic_text;
use super::row::ObjectRow;
use super::schema::{Reference, Schema};
use super::{Store, TableName};

/// The row of an object, with its register and schema: all that its entity is made of.
#[derive(Debug, Clone)]
pub(crate) struct ObjectState {
    pub(crate) table: TableName,
    pub(crate) row: Row,
    pub(crate) register: Option<Arc<Reference>>,
    pub(crate) schema: Option<Arc<Schema>>,
}

impl ObjectState {
    pub(crate) fn fields(&self) -> Map<String, Value> {
        let row = ObjectRow::new(&self.table, &self.row);
        object_fields(&self.table, row, self.register.as_deref(), self.schema.as_deref())
    }

    /// The text of [`Self::fields`], if it can be written without them.
    pub(crate) fn to_text(&self) -> Option<String> {
        let Store::Magic { register, schema } = self.table.store() else {
            return None;
        };
        let register = Reference::value_of(self.register.as_deref(), Some(*register));
        let known = self.schema.as_deref()?;
        let reference = Reference::value_of(Some(&known.reference), Some(*schema));
        magic_text(&self.row, &register, (&reference, known))
    }
}
