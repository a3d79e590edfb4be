//! What a batch gathers while it is classified.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use crate::capture::Change;
use crate::lifecycle::earlier::StateDigest;
use crate::lifecycle::event::{ActorState, Event, EventId, Lane, States};
use crate::lifecycle::facts::Facts;
use crate::lifecycle::locks::LockSource;
use crate::lifecycle::outcome::Outcome;
use orw_model::{Entity, EventClass, Row, TableName};

/// What is gathered of the batch under way.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) out: Outcome,
    /// The places of events that wait for the audit row of their request, by backend and uuid.
    pub(super) open: HashMap<(i32, String), Vec<usize>>,
    /// Rows deleted from a table later in the batch, by uuid: what lookups can no longer see.
    pub(super) deleted_later: HashMap<String, Vec<(usize, TableName, Row)>>,
    /// The changes of announced locks, by the object's uuid.
    pub(super) locks: BTreeMap<String, (DateTime<Utc>, Option<LockSource>)>,
    /// Where in the batch rows are inserted, by uuid: an object cannot have been migrated from a row that is inserted later.
    pub(super) inserted: HashMap<String, Vec<(usize, TableName)>>,
}

impl Batch {
    pub(super) fn push(&mut self, event: Event) -> usize {
        self.out.events.push(event);
        self.out.events.len() - 1
    }

    /// What announced the object's lock, at this point of the stream; `None` if no announced lock holds.
    pub(super) fn held(&self, facts: &Facts, uuid: &str) -> Option<LockSource> {
        match self.locks.get(uuid) {
            Some((_, held)) => *held,
            None => facts.held.get(uuid).copied(),
        }
    }

    /// Whether the object was in this state before `change`: by the events of earlier batches, and of this one so far.
    pub(super) fn was_before(&self, facts: &Facts, change: &Change, uuid: &str, state: &Entity) -> bool {
        let state = StateDigest::of(state);
        let stored = facts.earlier.get(uuid);
        if stored.is_some_and(|states| states.contains(state, change.at)) {
            return true;
        }
        let lane = Lane::object(uuid);
        let own = self.out.events.iter().filter(|event| event.lane == lane);
        own.flat_map(|event| [Some(event.states.current()), event.states.old()])
            .flatten()
            .any(|entity| StateDigest::of(entity) == state)
    }

    pub(super) fn set_held(&mut self, uuid: &str, at: DateTime<Utc>, held: Option<LockSource>) {
        self.locks.insert(uuid.to_owned(), (at, held));
    }
}

/// The event that a change gives.
pub(super) fn event(
    change: &Change,
    class: EventClass,
    lane: Lane,
    states: States,
    actor: ActorState,
) -> Event {
    Event {
        // A change gives at most one event of each action, so the action is its place: the id does not depend on
        // which other events the settings let through.
        id: EventId::of(change, class.action() as u8),
        class,
        lane,
        at: change.at,
        states,
        actor,
        pid: change.pid,
    }
}
