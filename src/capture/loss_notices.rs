//! Loss notices: notifications by which writers say that they could neither capture a change of a table nor record the loss in
//! `missed`.
//!
//! Guarantees: a notice is kept until it is stored, whatever happens to the connection over which it came, to the leadership, or to
//! the reader; there is room for [`MOST`] tables, and only tables that may be captured use it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orw_model::TableName;

/// How many tables are remembered.
const MOST: usize = 1000;

/// The notices that are not stored yet: how often each table was named. Cheap to clone; clones share the same notices.
#[derive(Debug, Clone, Default)]
pub struct LossNotices(Arc<Mutex<BTreeMap<String, u64>>>);

/// The notices at a moment: tables, and how often each was named by then.
#[derive(Debug)]
pub(super) struct Waiting(BTreeMap<String, u64>);

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn tables(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

impl LossNotices {
    /// Takes a notification. Every role of the database can send any text.
    pub(super) fn hear(&self, payload: &str, table_prefix: &str) {
        let table = payload.strip_prefix("missed ");
        let Some(table) = table.filter(|table| TableName::parse(table, table_prefix).is_some()) else {
            return;
        };
        let mut notices = self.lock();
        if let Some(times) = notices.get_mut(table) {
            *times += 1;
        } else if notices.len() < MOST {
            notices.insert(table.to_owned(), 1);
        } else {
            tracing::error!(%table, "changes are lost, and too many tables have lost some: no gap is recorded for this one");
        }
    }

    /// The notices that are not stored yet.
    pub(super) fn waiting(&self) -> Waiting {
        Waiting(self.lock().clone())
    }

    /// Forgets what was stored, except tables that were named again meanwhile.
    pub(super) fn stored(&self, stored: &Waiting) {
        self.lock()
            .retain(|table, times| stored.0.get(table).is_none_or(|then| then != times));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_is_kept_until_it_is_stored() {
        let notices = LossNotices::default();
        for payload in [
            "missed oc_openregister_table_1_1",
            "missed oc_openregister_registers",
            "missed pg_class",
            "oc_openregister_table_2_2",
            "",
        ] {
            notices.hear(payload, "oc_");
        }
        let waiting = notices.waiting();
        assert_eq!(
            waiting.tables(),
            ["oc_openregister_registers", "oc_openregister_table_1_1"]
        );
        // One of them is named again while both are being stored.
        notices.hear("missed oc_openregister_registers", "oc_");
        notices.stored(&waiting);
        assert_eq!(notices.waiting().tables(), ["oc_openregister_registers"]);
        notices.stored(&notices.waiting());
        assert!(notices.waiting().is_empty());
    }

    #[test]
    fn there_is_room_for_so_many_tables() {
        let notices = LossNotices::default();
        for n in 0..MOST + 10 {
            notices.hear(&format!("missed oc_openregister_table_1_{n}"), "oc_");
        }
        assert_eq!(notices.waiting().tables().len(), MOST);
    }
}
