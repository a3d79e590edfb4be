//! Lifecycle: from captured changes to the documented events.
//!
//! Guarantees: classification is by state, not by SQL verb; a change that changed nothing gives no event; an event's
//! id is made from its change and its place in it, so it is the same after every crash; memory is bounded, and losing
//! it (a restart) costs lookups, not correctness.

mod audit;
mod bounded;
mod core;
mod current;
mod difference;
mod event;
mod facts;
pub mod gap;
mod host;
mod local_time;
pub mod locks;
mod lookup;
mod outcome;
mod people;
mod references;
mod settings;
pub mod store;

pub use self::core::{Core, Decoded};
pub use current::created;
pub use event::{Actor, ActorState, Event, EventId, Lane, States};
pub use facts::{Facts, LockFacts, LockNeed, Needs, User};
pub use gap::{EventType, GAP_EVENT, GapNotice, Stored};
pub(crate) use host::Tables;
pub use host::{Host, HostError};
pub use locks::{Held, LockChange};
pub(crate) use lookup::users;
pub use lookup::{Lifecycle, LookupError};
pub use outcome::{ActivityWanted, ActorFound, Outcome, Undecodable};
pub use settings::{LifecycleSettings, OBJECT_HOUSEKEEPING, PLAIN_HOUSEKEEPING};
