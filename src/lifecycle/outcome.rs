//! The result of classifying a batch.

use chrono::{DateTime, Utc};

use super::event::{Actor, Event, Lane};
use super::locks::LockChange;
use crate::capture::{Change, Xid};
use orw_model::{Action, EntityKind};

/// The result of a batch.
#[derive(Debug, Default)]
pub struct Outcome {
    /// In the order of their changes; each is final except for an actor that is still awaited.
    pub events: Vec<Event>,
    /// Who caused events of earlier batches.
    pub actors: Vec<ActorFound>,
    /// Events whose actor the activity app may know.
    pub activities: Vec<ActivityLookup>,
    /// Changes of announced locks, by uuid; to be stored together with the events ([`super::locks::store`]).
    pub locks: Vec<LockChange>,
    /// For quarantine.
    pub undecodable: Vec<Undecodable>,
}

/// An audit row names the actor of stored events: those of `lane` by the backend `pid` between `since` and `at` that still wait for
/// it. There may be none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorFound {
    pub pid: i32,
    pub lane: Lane,
    pub since: DateTime<Utc>,
    pub at: DateTime<Utc>,
    /// `None`: nobody was logged in.
    pub actor: Option<Actor>,
    /// The action of a transition, if the audit row names it.
    pub transition: Option<String>,
}

/// An event of a register or a schema. No audit row names its actor, but a row of the activity app may, which the same request writes
/// a moment later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityLookup {
    /// Its place among the outcome's events.
    pub event: usize,
    pub kind: EntityKind,
    pub action: Action,
    /// The row's id.
    pub id: i64,
    /// The transaction of the change.
    pub xid: Xid,
    pub pid: i32,
    pub at: DateTime<Utc>,
}

/// A change that cannot be read.
#[derive(Debug)]
pub struct Undecodable {
    pub change: Change,
    pub reason: String,
}
