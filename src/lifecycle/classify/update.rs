//! What an UPDATE means: which events it gives. Soft deletes, restores, locks, reverts and housekeeping are told here.

use serde_json::Value;

use crate::lifecycle::settings::LifecycleSettings;
use orw_model::{Action, EntityKind, ObjectRow, Row, decode_text, is_set};

/// What happened to a soft-delete column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deletion {
    Alive,
    Deleted,
    /// Deleted before and after: a repeated delete, or a change of a soft-deleted row.
    StillDeleted,
    Restored,
}

const fn deletion(before: bool, after: bool) -> Deletion {
    match (before, after) {
        (false, false) => Deletion::Alive,
        (false, true) => Deletion::Deleted,
        (true, true) => Deletion::StillDeleted,
        (true, false) => Deletion::Restored,
    }
}

/// The events of an UPDATE of an object's row, in their order; at most one of each action. That it was a revert is not told by the two
/// rows alone ([`may_be_revert`]).
pub(crate) fn of_object(settings: &LifecycleSettings, old: ObjectRow<'_>, new: ObjectRow<'_>) -> Vec<Action> {
    match deletion(old.is_deleted(), new.is_deleted()) {
        Deletion::Deleted => return vec![Action::Deleted],
        Deletion::StillDeleted => return Vec::new(),
        Deletion::Restored => return vec![Action::Updated],
        Deletion::Alive => {}
    }
    let mut actions = Vec::new();
    let updated = new
        .columns()
        .changed(old.columns())
        .any(|column| is_news(settings, column, old, new));
    if updated {
        actions.push(Action::Updated);
    }
    actions.extend(lock_change(old, new));
    actions
}

/// Whether the change of `column` is worth an Updated.
fn is_news(settings: &LifecycleSettings, column: &str, old: ObjectRow<'_>, new: ObjectRow<'_>) -> bool {
    let name = if new.is_magic() {
        match column.strip_prefix('_') {
            Some(name) => name,
            // A property, whatever it is called.
            None => return true,
        }
    } else {
        column
    };
    if matches!(name, "locked" | "deleted") || settings.is_housekeeping(EntityKind::Object, name) {
        return false;
    }
    // OpenRegister fills an empty description with the numeric id and an empty name with the uuid when it writes a row
    // a second time.
    let filled = |with: &str| {
        !is_set(old.meta(name))
            && match (new.meta(name), new.meta(with)) {
                (Some(Value::String(text)), Some(Value::String(source))) => text == source,
                (Some(Value::String(text)), Some(Value::Number(source))) => *text == source.to_string(),
                _ => false,
            }
    };
    match name {
        "description" => !filled("id"),
        "name" => !filled("uuid"),
        _ => !both_empty(old.columns().get(column), new.columns().get(column)),
    }
}

/// In OpenRegister's metadata columns `[]`, `{}`, the empty text and null mean the same.
fn both_empty(old: Option<&Value>, new: Option<&Value>) -> bool {
    !is_set(old) && !is_set(new)
}

/// Whether an UPDATE looks like a revert, which brings back the properties of an earlier state, raises the version and leaves `updated`
/// alone. In 2.x every save raises the version, and of two saves within one second the later one leaves `updated` as it is: that the
/// object was in this state before decides.
pub(super) fn may_be_revert(old: ObjectRow<'_>, new: ObjectRow<'_>) -> bool {
    let version = |row: ObjectRow<'_>| {
        row.text("version").map(|text| {
            text.split('.')
                .map(|part| part.parse().unwrap_or(0u64))
                .collect::<Vec<_>>()
        })
    };
    version(new).is_some_and(|raised| version(old).unwrap_or_default() < raised)
        && new.meta("updated") == old.meta("updated")
        && new
            .columns()
            .changed(old.columns())
            .any(|column| is_property(new, column))
}

/// Whether a column holds properties of the object.
fn is_property(row: ObjectRow<'_>, column: &str) -> bool {
    if row.is_magic() {
        !column.starts_with('_')
    } else {
        column == "object"
    }
}

fn lock_change(old: ObjectRow<'_>, new: ObjectRow<'_>) -> Option<Action> {
    let lock = |row: ObjectRow<'_>| row.meta("locked").map(decode_text).filter(|v| is_set(Some(v)));
    match (lock(old), lock(new)) {
        (before, Some(after)) if before.as_ref() != Some(&after) => Some(Action::Locked),
        (Some(_), None) => Some(Action::Unlocked),
        _ => None,
    }
}

/// Whether a row of a kind other than objects is soft-deleted: a column holds the time of deletion.
pub(crate) fn is_plain_deleted(kind: EntityKind, row: &Row) -> bool {
    match kind {
        EntityKind::Conversation => is_set(row.get("deleted_at")),
        EntityKind::Register | EntityKind::Schema => is_set(row.get("deleted")),
        _ => false,
    }
}

/// The event of an UPDATE of a row of a kind other than objects.
pub(crate) fn of_plain(
    settings: &LifecycleSettings,
    kind: EntityKind,
    old: &Row,
    new: &Row,
) -> Option<Action> {
    match deletion(is_plain_deleted(kind, old), is_plain_deleted(kind, new)) {
        Deletion::Deleted => Some(Action::Deleted),
        Deletion::StillDeleted => None,
        Deletion::Restored => Some(Action::Updated),
        Deletion::Alive => new
            .changed(old)
            .any(|column| !settings.is_housekeeping(kind, column))
            .then_some(Action::Updated),
    }
}
