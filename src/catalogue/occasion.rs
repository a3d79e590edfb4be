//! When an event of each class is sent.

use orw_model::{Action, EntityKind, EventClass};

/// When an event of this class is sent, in one or two sentences.
#[must_use]
pub fn when(class: EventClass) -> String {
    let kind = class.kind();
    let one = match kind {
        EntityKind::Agent | EntityKind::Application | EntityKind::Object | EntityKind::Organisation => "An",
        _ => "A",
    };
    let soft = match kind {
        EntityKind::Object => {
            " (softly or permanently; deleting it again and the purge that follows give no event)"
        }
        EntityKind::Conversation => " (softly or permanently; the purge of a deleted one gives no event)",
        _ => "",
    };
    match class.action() {
        Action::Created => match kind {
            EntityKind::Object => {
                "An object was created through the API, by an import, or by a bulk upsert. An object that moves between \
                 storages gives no event."
                    .to_owned()
            }
            _ => format!("{one} {kind} was created."),
        },
        Action::Updated => match kind {
            EntityKind::Object => "An object was changed, restored after a delete, or moved to another register or schema. \
                 A write that changed only housekeeping columns gives no event."
                .to_owned(),
            _ => format!("{one} {kind} was changed. A write that changed nothing gives no event."),
        },
        Action::Deleted => format!("{one} {kind} was deleted{soft}. The event carries its last state."),
        Action::Locked => "An object was locked, or its lock was renewed.".to_owned(),
        Action::Unlocked => {
            "The lock of an object ended: somebody unlocked it, or an update ended it. Unlocking an object that was not locked \
             gives no event."
                .to_owned()
        }
        Action::Reverted => "An object was reverted to an earlier version. An ObjectUpdatedEvent is sent as well.".to_owned(),
        Action::Transitioned => {
            "The property of an object changed that its schema's `x-openregister-lifecycle` names. It follows the ObjectUpdatedEvent of \
             the same change. Only a webhook that names this class in full gets it: no pattern matches it."
                .to_owned()
        }
    }
}
