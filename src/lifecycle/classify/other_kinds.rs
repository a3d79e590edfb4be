//! Changes of the rows of the nine kinds other than objects.

use serde_json::Value;

use super::batch::{Batch, event};
use super::classifier::Classifier;
use super::update;
use crate::capture::{Change, Op, Origin};
use crate::lifecycle::event::{ActorState, Lane, States};
use crate::lifecycle::facts::Facts;
use crate::lifecycle::outcome::ActivityLookup;
use orw_model::{Action, ActorSource, EntityKind, EventClass, Row, TableName, other_entity};

impl Classifier {
    /// A change of a row of one of these kinds.
    pub(super) fn plain_change(
        &mut self,
        batch: &mut Batch,
        facts: &Facts,
        change: &Change,
        kind: EntityKind,
        old: Option<&Row>,
        new: Option<&Row>,
    ) {
        let Some(id) = row_id(new.or(old)) else { return };
        self.references.set(kind, id, new);
        let action = match (change.op, old, new) {
            (Op::Insert, _, Some(new)) if !update::is_plain_deleted(kind, new) => {
                let copied = other_view_table(&change.table)
                    .zip(text(new, "uuid"))
                    .is_some_and(|(other, uuid)| facts.rows_exist.contains(&(other.to_owned(), uuid)));
                (!copied).then_some(Action::Created)
            }
            (Op::Update, Some(old), Some(new)) => update::of_plain(&self.settings, kind, old, new),
            (Op::Delete, Some(old), _) if !update::is_plain_deleted(kind, old) => Some(Action::Deleted),
            _ => None,
        };
        let Some((action, class)) = action.and_then(|action| Some((action, EventClass::new(kind, action)?)))
        else {
            return;
        };
        let states = match (action, old, new) {
            (Action::Updated, Some(old), Some(new)) => States::Both {
                new: other_entity(kind, new),
                old: other_entity(kind, old),
            },
            (Action::Deleted, Some(last), _) | (_, _, Some(last)) => States::One(other_entity(kind, last)),
            _ => return,
        };
        let creator = new
            .filter(|_| action == Action::Created)
            .and_then(|row| creator(kind, row));
        let actor = creator.map(|uid| self.users.actor(&uid, None, ActorSource::Owner));
        let lane = Lane::row(change.table.name(), &id.to_string());
        let by_activity = class.actor_source() == ActorSource::Activity && change.origin == Origin::Live;
        let actor = if by_activity {
            ActorState::Awaited { fallback: actor }
        } else {
            ActorState::Known(actor)
        };
        let place = batch.push(event(change, class, lane, states, actor));
        if by_activity {
            batch.out.activities.push(ActivityLookup {
                event: place,
                kind,
                action,
                id,
                xid: change.key.xid,
                pid: change.pid,
                at: change.at,
            });
        }
    }
}

pub(super) fn row_id(row: Option<&Row>) -> Option<i64> {
    row?.get("id")?.as_i64()
}

pub(super) fn text(row: &Row, key: &str) -> Option<String> {
    row.get(key)
        .and_then(Value::as_str)
        .filter(|s| !s.is_empty())
        .map(str::to_owned)
}

/// Views are in one of two tables, and an upgrade copies them from one into the other: the other table.
pub(super) fn other_view_table(table: &TableName) -> Option<&'static str> {
    match table.name() {
        "openregister_view" => Some("openregister_views"),
        _ => None,
    }
}

/// Who created an entity other than an object: its owner, if the caller of OpenRegister cannot choose the owner.
pub(in crate::lifecycle) fn creator(kind: EntityKind, row: &Row) -> Option<String> {
    if EventClass::new(kind, Action::Created)?.actor_source() != ActorSource::Owner {
        return None;
    }
    let column = if kind == EntityKind::Conversation {
        "user_id"
    } else {
        "owner"
    };
    text(row, column).filter(|uid| !uid.eq_ignore_ascii_case("system"))
}
