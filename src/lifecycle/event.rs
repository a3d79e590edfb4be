//! A lifecycle event: what the pipeline stores, matches and delivers.

use std::fmt;

use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::capture::Change;
use orw_model::{ActorSource, Entity, EventClass, Transition};

/// `evt_` and 32 hexadecimal digits: the `webhook-id` of every delivery of this event.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(String);

impl EventId {
    /// The id of the event at `place` among the events of `change`: the same for every webhook, every attempt, after
    /// every crash, and after a restore. The table and the time are part of it because another cluster counts
    /// its LSNs and xids anew.
    #[must_use]
    pub fn of(change: &Change, place: u8) -> Self {
        let mut hash = Sha256::new();
        hash.update(change.table.name().as_bytes());
        hash.update([0]);
        hash.update(change.key.lsn.0.to_be_bytes());
        hash.update(change.key.xid.0.to_be_bytes());
        hash.update(change.key.ordinal.to_be_bytes());
        hash.update(change.at.timestamp_micros().to_be_bytes());
        hash.update([place]);
        Self::from_digest(hash)
    }

    /// The id of an event that does not come from a change, such as a backfill's or a test's: made from what identifies it.
    #[must_use]
    pub fn made(purpose: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        hash.update(purpose.as_bytes());
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self::from_digest(hash)
    }

    fn from_digest(hash: Sha256) -> Self {
        let digest = hash.finalize();
        Self(format!("evt_{}", HEXLOWER.encode(&digest[..16])))
    }

    /// An id as it was stored.
    #[must_use]
    pub fn from_stored(id: String) -> Self {
        Self(id)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The lane of an event: within one webhook, the events of a lane are delivered in order. It is `object:<uuid>` for objects (whichever table they are in),
/// `<table>:<id>` for the other kinds (an agent's uuid changes at every update, its id does not).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(String);

impl Lane {
    #[must_use]
    pub fn object(uuid: &str) -> Self {
        Self(format!("object:{uuid}"))
    }

    #[must_use]
    pub fn row(table: &str, id: &str) -> Self {
        Self(format!("{table}:{id}"))
    }

    /// A lane as it was stored.
    #[must_use]
    pub fn from_stored(lane: String) -> Self {
        Self(lane)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The states of the entity that the event carries.
#[derive(Debug, Clone, PartialEq)]
pub enum States {
    /// Created, Locked, Unlocked, Reverted: the state after. Deleted: the last state.
    One(Entity),
    /// Updated.
    Both { new: Entity, old: Entity },
    /// Transitioned: the state after, and what moved.
    Moved { new: Entity, transition: Transition },
}

impl States {
    /// The state after the change; for Deleted the last state.
    #[must_use]
    pub const fn current(&self) -> &Entity {
        match self {
            Self::One(entity) | Self::Both { new: entity, .. } | Self::Moved { new: entity, .. } => entity,
        }
    }

    #[must_use]
    pub const fn old(&self) -> Option<&Entity> {
        match self {
            Self::One(_) | Self::Moved { .. } => None,
            Self::Both { old, .. } => Some(old),
        }
    }

    /// For Transitioned: what moved.
    #[must_use]
    pub const fn transition(&self) -> Option<&Transition> {
        match self {
            Self::Moved { transition, .. } => Some(transition),
            Self::One(_) | Self::Both { .. } => None,
        }
    }
}

/// The user who caused an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub uid: String,
    pub display_name: Option<String>,
    pub groups: Vec<String>,
    /// Where this is known from.
    pub source: ActorSource,
}

impl Actor {
    /// The display name, or the user id if there is none, as Nextcloud shows it.
    #[must_use]
    pub fn shown_name(&self) -> &str {
        self.display_name.as_deref().unwrap_or(&self.uid)
    }
}

/// What is known about the user who caused an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActorState {
    /// Final; `None` if it cannot be known.
    Known(Option<Actor>),
    /// The audit row of the same request may still come. `fallback` is what the changed row itself says.
    Awaited { fallback: Option<Actor> },
}

impl ActorState {
    /// The actor as far as it is known now.
    #[must_use]
    pub const fn actor(&self) -> Option<&Actor> {
        match self {
            Self::Known(actor) | Self::Awaited { fallback: actor } => actor.as_ref(),
        }
    }

    /// Where the actor is known from, as far as it is known now.
    #[must_use]
    pub fn source(&self) -> ActorSource {
        self.actor().map_or(ActorSource::Nowhere, |actor| actor.source)
    }
}

/// One lifecycle event.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: EventId,
    pub class: EventClass,
    pub lane: Lane,
    /// When the change was made, by the database server's clock.
    pub at: DateTime<Utc>,
    pub states: States,
    pub actor: ActorState,
    /// The process id of the backend that made the change: the audit row of the same request has the same.
    pub pid: i32,
}
