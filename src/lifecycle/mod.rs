//! Lifecycle: from captured changes to the documented events.
//!
//! Which event a change gives is decided in `classify`, from what is looked up in `lookup`; what a soft delete is and what an
//! UPDATE means in `classify::update`. The event classes themselves are `orw_model::EventClass`: a further class is added there, its
//! classification in `classify`, its example and schema in `catalogue`. Stored events are the business of [`store`].
//!
//! Guarantees: classification is by state, not by SQL verb; a change that changed nothing gives no event; an event's
//! id is made from its change and its place in it, so it is the same after every crash; memory is bounded, and losing
//! it (a restart) costs look-ups, not correctness.

mod audit;
mod bounded_map;
mod classify;
mod current;
mod earlier;
mod event;
mod facts;
pub mod gap;
mod host_connection;
mod local_time;
pub mod locks;
mod lookup;
mod outcome;
mod references;
mod settings;
pub mod store;
mod users;

pub use classify::{Classifier, Decoded};
pub use current::created;
pub use earlier::EarlierStates;
pub use event::{Actor, ActorState, Event, EventId, Lane, States};
pub use facts::{Facts, LockAnswer, LockQuery, Needs, User};
pub use gap::{EventType, GAP_EVENT, GapNotice, StoredEvent};
pub(crate) use host_connection::HostTables;
pub use host_connection::{HostConnection, HostError};
pub use locks::{LockChange, LockSource};
pub(crate) use lookup::look_up_users;
pub use lookup::{Lifecycle, LookupError};
pub use outcome::{ActivityLookup, ActorFound, Outcome, Undecodable};
pub use settings::{Housekeeping, LifecycleSettings, housekeeping};
