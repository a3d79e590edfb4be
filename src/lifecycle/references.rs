//! Registers and schemas as they are at the current point of the stream.

use std::collections::HashMap;
use std::sync::Arc;

use orw_model::{EntityKind, Reference, Row, Schema};

/// How many registers or schemas are remembered; beyond that all are dropped and looked up again.
const BOUND: usize = 4096;

/// By id; `None`: it was looked up and does not exist.
type Known<T> = HashMap<i64, Option<Arc<T>>>;

/// The known registers and schemas.
#[derive(Debug, Default)]
pub(crate) struct References {
    registers: Known<Reference>,
    schemas: Known<Schema>,
}

impl References {
    pub(crate) fn clear(&mut self) {
        self.registers.clear();
        self.schemas.clear();
    }

    /// Makes room before a batch, so that nothing is dropped within it.
    pub(crate) fn make_room(&mut self) {
        if self.registers.len() > BOUND {
            self.registers.clear();
        }
        if self.schemas.len() > BOUND {
            self.schemas.clear();
        }
    }

    pub(crate) fn knows_register(&self, id: i64) -> bool {
        self.registers.contains_key(&id)
    }

    pub(crate) fn knows_schema(&self, id: i64) -> bool {
        self.schemas.contains_key(&id)
    }

    pub(crate) fn register(&self, id: Option<i64>) -> Option<&Arc<Reference>> {
        self.registers.get(&id?)?.as_ref()
    }

    pub(crate) fn schema(&self, id: Option<i64>) -> Option<&Arc<Schema>> {
        self.schemas.get(&id?)?.as_ref()
    }

    /// Takes over what was looked up, unless the stream has already told about it.
    pub(crate) fn learn(&mut self, kind: EntityKind, id: i64, row: Option<&Row>) {
        match kind {
            EntityKind::Register if !self.knows_register(id) => self.set(kind, id, row),
            EntityKind::Schema if !self.knows_schema(id) => self.set(kind, id, row),
            _ => {}
        }
    }

    /// Takes over what the stream tells: from here on the row is like this; `None` means that it was deleted.
    pub(crate) fn set(&mut self, kind: EntityKind, id: i64, row: Option<&Row>) {
        match kind {
            EntityKind::Register => {
                self.registers
                    .insert(id, row.and_then(Reference::from_row).map(Arc::new));
            }
            EntityKind::Schema => {
                self.schemas
                    .insert(id, row.and_then(Schema::from_row).map(Arc::new));
            }
            _ => {}
        }
    }
}
