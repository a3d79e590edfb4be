//! What OpenRegister is: its kinds of entity, its event classes, its tables, and how a row reads as an entity.
//!
//! Guarantees: pure functions of their input (no database, no clock), tolerant of columns that come and go between
//! the generations of OpenRegister. Facts about the host application live here and nowhere else.

#![forbid(unsafe_code)]

mod class;
mod entity;
pub mod json;
mod kind;
mod mask;
mod object;
mod plain;
mod row;
mod schema;
mod table;
pub mod time;

pub use class::{Action, ActorSource, EventClass};
pub use entity::Entity;
pub use kind::EntityKind;
pub use object::{has_field as object_has_field, object};
pub use plain::plain;
pub use row::{ObjectRow, Row, RowError, parse_row};
pub use row::{decode_text, is_set};
pub use schema::{Reference, Schema};
pub use table::{Store, TableName};
