//! Lifecycle: from captured changes to the documented events.
//!
//! Guarantees: classification is by state, not by SQL verb; a change that changed nothing gives no event; an event's
//! id is made from its change and its place in it, so it is the same after every crash.

mod event;

pub use event::{Actor, ActorState, Event, EventId, Lane, States};
