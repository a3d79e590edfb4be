//! On which occasion an event is sent.

use orw_model::{Action, EntityKind, EventClass};

/// When an event of this class comes, in one sentence.
#[must_use]
pub fn when(class: EventClass) -> String {
    let kind = class.kind();
    let one = match kind {
        EntityKind::Agent | EntityKind::Application | EntityKind::Object | EntityKind::Organisation => "An",
        _ => "A",
    };
    let soft = match kind {
        EntityKind::Object => " (softly or for good; a repeated delete and the purge after it give nothing)",
        EntityKind::Conversation => " (softly or for good; the purge of a deleted one gives nothing)",
        _ => "",
    };
    match class.action() {
        Action::Created => match kind {
            EntityKind::Object => {
                "An object was created: through the API, by an import, or by a bulk upsert; not when it was moved between \
                 storages."
                    .to_owned()
            }
            _ => format!("{one} {kind} was created."),
        },
        Action::Updated => match kind {
            EntityKind::Object => "An object was changed, restored after a delete, or moved to another register or schema; \
                 a write that changed nothing but housekeeping columns gives nothing."
                .to_owned(),
            _ => format!("{one} {kind} was changed; a write that changed nothing gives nothing."),
        },
        Action::Deleted => format!("{one} {kind} was deleted{soft}. It carries the last state."),
        Action::Locked => "An object was locked, or its lock was renewed.".to_owned(),
        Action::Unlocked => {
            "The lock of an object ended: somebody unlocked it, or an update ended it. An unlock of an object that was not locked \
             gives nothing."
                .to_owned()
        }
        Action::Reverted => "An object was taken back to an earlier version; ObjectUpdatedEvent comes with it.".to_owned(),
    }
}
