//! The classification itself: a pure function of the changes, of what was looked up for them, and of a bounded memory
//! of earlier changes.
//!
//! Where a rule stands: [`update`] says what an UPDATE means (a change, a soft delete, a restore, a lock, a revert); `objects` says
//! what an INSERT and a DELETE of an object's row mean, and tells a migration from a creation, with the help of `insertions`; `other_kinds` does the same for the
//! nine other kinds; `audits` handles audit rows (who did it, and the locks that no column shows); `needs` says what must be looked
//! up first.

mod audits;
mod batch;
mod classifier;
mod decode;
mod insertions;
mod needs;
mod objects;
mod other_kinds;
mod recent;
pub(super) mod update;

use crate::capture::Op;
use crate::lifecycle::facts::{Facts, Needs};
use crate::lifecycle::locks::LockChange;
use crate::lifecycle::outcome::Outcome;
use orw_model::ObjectRow;

use batch::Batch;
pub use classifier::Classifier;
pub use decode::Decoded;
use decode::DecodedKind;
pub(super) use objects::owner;
pub(super) use other_kinds::creator;

impl Classifier {
    /// Turns changes into events, in order. `needs` is what [`Self::needs`] returned for them, `facts` what was looked up.
    pub fn classify(&mut self, changes: Vec<Decoded>, needs: Needs, facts: &Facts) -> Outcome {
        self.learn(&changes, needs, facts);
        let mut batch = Batch::default();
        for (at, decoded) in changes.iter().enumerate() {
            if let DecodedKind::Object { new: Some(new), .. } = &decoded.kind
                && decoded.change.op == Op::Insert
                && let Some(uuid) = ObjectRow::new(&decoded.change.table, new).uuid()
            {
                let inserts = batch.inserted.entry(uuid.to_owned()).or_default();
                inserts.push((at, decoded.change.table.clone()));
            }
            if let DecodedKind::Object { old: Some(old), .. } = &decoded.kind
                && decoded.change.op == Op::Delete
                && let Some(uuid) = ObjectRow::new(&decoded.change.table, old).uuid()
            {
                batch.deleted_later.entry(uuid.to_owned()).or_default().push((
                    at,
                    decoded.change.table.clone(),
                    old.clone(),
                ));
            }
        }
        for (at, decoded) in changes.into_iter().enumerate() {
            let Decoded { change, kind } = decoded;
            match kind {
                DecodedKind::Object { old, new } => {
                    self.object_change(&mut batch, facts, at, change, old.as_ref(), new.as_ref());
                }
                DecodedKind::Plain { kind, old, new } => {
                    self.plain_change(&mut batch, facts, &change, kind, old.as_ref(), new.as_ref());
                }
                DecodedKind::Audit(audit) => self.audit_row(&mut batch, facts, &change, &audit),
                DecodedKind::Nothing => {}
            }
        }
        for (key, events) in batch.open {
            if let Some(recent) = self.recent.get_mut(&key) {
                recent.awaiting |= !events.is_empty();
            }
        }
        let locks = batch.locks.into_iter();
        batch.out.locks = locks
            .map(|(uuid, (at, held))| LockChange { uuid, at, held })
            .collect();
        batch.out
    }
}
