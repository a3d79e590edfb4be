//! What moved, for Transitioned: a field of the column `new`, beside those of the object.

use crate::lifecycle::event::States;
use orw_model::{Entity, Transition};

/// The name of the field. Objects have none of this name.
const TRANSITION: &str = "transition";

/// The text of the column `new`.
pub(super) fn current_text(states: &States) -> String {
    match states {
        States::One(entity) | States::Both { new: entity, .. } => entity.to_text(),
        States::Moved { new, transition } => joined(new.clone(), transition),
    }
}

/// The text of the column `new` of a Transitioned.
pub(super) fn joined(mut object: Entity, transition: &Transition) -> String {
    object.set(TRANSITION, transition.to_value());
    object.to_text()
}

/// The object and what moved; `None` if the field is missing or means nothing.
pub(super) fn split(mut stored: Entity) -> Option<(Entity, Transition)> {
    let transition = Transition::from_value(&stored.take(TRANSITION)?)?;
    Some((stored, transition))
}
