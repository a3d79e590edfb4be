//! What OpenRegister is: its kinds of entity, its event classes, its tables, and how a row becomes an entity.
//!
//! Guarantees: every function depends only on its input (no database, no clock), and tolerates columns that come and go
//! between the generations of OpenRegister. Facts about the host application are in this crate and nowhere else.

#![forbid(unsafe_code)]

mod class;
mod columns;
mod entity;
pub mod json;
mod kind;
mod mask;
mod metadata;
mod names;
mod object;
mod object_fields;
mod object_state;
mod object_text;
mod other_kinds;
mod row;
mod schema;
mod similar;
mod table;
pub mod time;
mod transition;
mod unavailable;

pub use class::{Action, ActorSource, EventClass};
pub use columns::{Row, RowError, parse_row, parse_row_beside};
pub use entity::Entity;
pub use kind::EntityKind;
pub use names::Names;
pub use object::{object_entity, object_has_field};
pub use other_kinds::other_entity;
pub use row::ObjectRow;
pub use row::{decode_text, is_set};
pub use schema::{Reference, Schema};
pub use similar::similar_class;
pub use table::{Store, TableName};
pub use transition::Transition;
pub use unavailable::{UNAVAILABLE, Unavailable};
