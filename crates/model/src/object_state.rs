//! All that an object's entity is made of.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::columns::Row;
use super::object_fields::{Picked, Source, object_fields};
use super::object_text::{Named, magic_text};
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
    /// The fields that are picked.
    pub(crate) fn fields(&self, picked: Picked<'_>) -> Map<String, Value> {
        let source = Source {
            table: &self.table,
            row: ObjectRow::new(&self.table, &self.row),
            register: self.register.as_deref(),
            schema: self.schema.as_deref(),
        };
        object_fields(source, picked)
    }

    /// The text of all of [`Self::fields`], if it can be written without them.
    pub(crate) fn to_text(&self) -> Option<String> {
        let Store::Magic { register, .. } = self.table.store() else {
            return None;
        };
        let register = match self.register.as_deref() {
            Some(known) => Named::of(known),
            None => Named {
                id: *register,
                uuid: None,
                slug: None,
            },
        };
        magic_text(&self.row, &register, self.schema.as_deref()?)
    }
}
