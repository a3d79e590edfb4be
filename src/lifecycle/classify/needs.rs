//! Collects what must be looked up for a batch.

use std::collections::HashSet;

use chrono::Utc;

use super::audits::{audit_tables, lock_need};
use super::classifier::Classifier;
use super::decode::{Decoded, DecodedKind};
use super::objects::{deleted_by, locked_by, owner};
use super::other_kinds::{creator, other_view_table, row_id, text};
use super::update;
use crate::capture::{Change, Op};
use crate::lifecycle::audit::Audit;
use crate::lifecycle::facts::Needs;
use crate::lifecycle::local_time;
use orw_model::{EntityKind, ObjectRow, Row, Store};

impl Classifier {
    /// What must be looked up before [`Self::classify`] can work on `changes`.
    pub fn needs(&mut self, changes: &[Decoded]) -> Needs {
        self.references.make_room();
        self.users.make_room();
        let mut needs = Needs::default();
        // Which rows a backend has touched before: asked for audit rows alone.
        let mut touched = HashSet::new();
        let audits = changes
            .iter()
            .any(|decoded| matches!(decoded.kind, DecodedKind::Audit(_)));
        for decoded in changes {
            let change = &decoded.change;
            self.insertions.pass(change.at, Utc::now);
            match &decoded.kind {
                DecodedKind::Object { old, new } => {
                    self.needs_of_object(&mut needs, change, old.as_ref(), new.as_ref());
                    if let Some(uuid) = new
                        .as_ref()
                        .filter(|_| audits)
                        .and_then(|row| ObjectRow::new(&change.table, row).uuid())
                    {
                        touched.insert((change.pid, uuid.to_owned()));
                    }
                }
                DecodedKind::Plain { kind, old, new } => {
                    self.needs_of_plain(&mut needs, change, *kind, old.as_ref(), new.as_ref());
                }
                DecodedKind::Audit(audit) => {
                    self.needs_of_audit(&mut needs, change, audit, &touched);
                }
                DecodedKind::Nothing => {}
            }
        }
        needs.users.retain(|uid| !uid.is_empty());
        needs
    }

    fn needs_of_object(&mut self, needs: &mut Needs, change: &Change, old: Option<&Row>, new: Option<&Row>) {
        let (Some(row), Some(uuid)) = (
            new.or(old).map(|row| ObjectRow::new(&change.table, row)),
            new.or(old)
                .and_then(|row| ObjectRow::new(&change.table, row).uuid()),
        ) else {
            return;
        };
        self.needs_references(needs, row.ids(&change.table));
        let images = [old, new].into_iter().flatten();
        let times = images.filter_map(|row| local_time::of(ObjectRow::new(&change.table, row)));
        needs.local_times.extend(times.map(str::to_owned));
        let owner = Some(row).filter(|_| change.op == Op::Insert).and_then(owner);
        let uids = [owner, deleted_by(row), locked_by(row)];
        needs.users.extend(
            uids.into_iter()
                .flatten()
                .filter(|uid| !self.users.knows(uid, change.at)),
        );
        if let (Op::Update, Some(old), Some(new)) = (change.op, old, new) {
            let image = |row| ObjectRow::new(&change.table, row);
            if update::may_be_revert(image(old), image(new)) {
                needs.earlier.insert(uuid.to_owned());
            }
        }
        match (change.op, change.table.store()) {
            (Op::Insert, Store::Magic { .. }) => {
                needs.in_blob.insert(uuid.to_owned());
                if !self.insertions.is_first(row, uuid, change.at) {
                    needs
                        .homes
                        .insert(uuid.to_owned(), change.table.name().to_owned());
                }
            }
            (Op::Delete, Store::Blob) => {
                if let (Some(register), Some(schema)) = row.ids(&change.table) {
                    let twin = format!("openregister_table_{register}_{schema}");
                    needs.rows_exist.insert((twin, uuid.to_owned()));
                }
            }
            _ => {}
        }
    }

    fn needs_references(&self, needs: &mut Needs, (register, schema): (Option<i64>, Option<i64>)) {
        if let Some(id) = register.filter(|id| !self.references.knows_register(*id)) {
            needs.registers.insert(id);
        }
        if let Some(id) = schema.filter(|id| !self.references.knows_schema(*id)) {
            needs.schemas.insert(id);
        }
    }

    fn needs_of_plain(
        &mut self,
        needs: &mut Needs,
        change: &Change,
        kind: EntityKind,
        old: Option<&Row>,
        new: Option<&Row>,
    ) {
        // Before its first change in this batch the row was as its old image says, whatever a look-up would find now.
        if let Some(id) = row_id(new.or(old)) {
            self.references.learn(kind, id, old);
        }
        if change.op == Op::Insert {
            if let Some(uid) = new.and_then(|row| creator(kind, row))
                && !self.users.knows(&uid, change.at)
            {
                needs.users.insert(uid);
            }
            if let Some((other, uuid)) =
                other_view_table(&change.table).zip(new.and_then(|row| text(row, "uuid")))
            {
                needs.rows_exist.insert((other.to_owned(), uuid));
            }
        }
    }

    fn needs_of_audit(
        &self,
        needs: &mut Needs,
        change: &Change,
        audit: &Audit,
        touched: &HashSet<(i32, String)>,
    ) {
        if let Some(uid) = &audit.user
            && !self.users.knows(uid, change.at)
        {
            needs.users.insert(uid.clone());
        }
        if audit.is_named() {
            self.needs_references(needs, (None, audit.schema));
        }
        let Some(uuid) = &audit.object_uuid else { return };
        let key = (change.pid, uuid.clone());
        match audit.action.as_str() {
            "lock" | "unlock" if !audit.lock_changed => {
                needs.held.insert(uuid.clone());
            }
            "revert" => {}
            _ => return,
        }
        let remembered = self.recent.get(&key);
        if !touched.contains(&key) && remembered.is_none_or(|r| r.image.is_none()) {
            needs.locks.insert(lock_need(change, audit, uuid));
            self.needs_references(needs, (audit.register, audit.schema));
            for table in audit_tables(audit) {
                needs.rows.insert((table, uuid.clone()));
            }
        }
    }
}
