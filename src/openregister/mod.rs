//! What OpenRegister is: its kinds of entity, its event classes, its tables, and how a row reads as an entity.
//!
//! Guarantees: pure functions of their input (no database, no clock), tolerant of columns that come and go between
//! the generations of OpenRegister. Facts about the host application live here and nowhere else.

mod class;
mod entity;
mod kind;
mod table;

pub use class::{Action, EventClass};
pub use entity::Entity;
pub use kind::EntityKind;
pub use table::{Store, TableName};
