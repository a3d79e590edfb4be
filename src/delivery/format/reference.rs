//! `dataMode: reference`: an event with the ids of its entities, and nothing else of them.
//!
//! Guarantee: what is rendered of such an event holds no value of the entity but its ids and those of its register and schema, and
//! not the user.

use serde_json::Map;

use crate::lifecycle::{ActorState, Event, States};
use orw_model::{Entity, EntityKind};

/// What says which object it is.
const OF_OBJECT: [&str; 4] = ["id", "uuid", "register", "schema"];
/// What says which entity of another kind it is.
const OF_OTHERS: [&str; 2] = ["id", "uuid"];

/// The event, reduced to what says which entity it is about.
pub(super) fn of(event: &Event) -> Event {
    let kind = event.class.kind();
    let states = match &event.states {
        States::One(entity) => States::One(reference(kind, entity)),
        States::Both { new, old } => States::Both {
            new: reference(kind, new),
            old: reference(kind, old),
        },
        // What moved, and from where to where, is what the entity holds.
        States::Moved { new, .. } => States::One(reference(kind, new)),
    };
    Event {
        id: event.id.clone(),
        class: event.class,
        lane: event.lane.clone(),
        at: event.at,
        states,
        actor: ActorState::Known(None),
        pid: event.pid,
    }
}

fn reference(kind: EntityKind, entity: &Entity) -> Entity {
    let names: &[&str] = match kind {
        EntityKind::Object => &OF_OBJECT,
        _ => &OF_OTHERS,
    };
    let fields: Map<_, _> = names
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), entity.fields().get(*name)?.clone())))
        .collect();
    Entity::new(fields)
}
