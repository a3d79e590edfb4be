//! How far the outbox is read, and where that is kept.
//!
//! A position says which changes are read: those visible in a snapshot, and, while a window is being worked through, those
//! visible in the window's snapshot up to a key. Positions are only ever inserted, into two tables emptied in turn: a row
//! that is updated a hundred times a second leaves dead rows that nobody may remove while a snapshot is held open.

mod floors;
mod identity;
mod snapshot;
mod store;

pub(super) use floors::{EarlierFloor, Floors};
pub use identity::Identity;
pub(crate) use identity::current_identity;
pub use snapshot::NoSnapshot;
pub(crate) use snapshot::Snapshot;
pub use store::LoadError;
pub(crate) use store::{Position, load, make_room, own_id, save};
