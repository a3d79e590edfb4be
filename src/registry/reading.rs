//! Which of two reads of the registrations is the newer one, and whether what was read is still so.
//!
//! The revision alone cannot tell: a database that is restored under a running process has an earlier one, and, after other
//! changes, the same one again.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio_postgres::Row;

/// What is selected of `registry r` for [`Stamp::of`].
pub(crate) const STAMP: &str = "r.revision AS registry_revision, r.state::text AS registry_state, \
     (SELECT concat_ws('/', c.system_identifier, d.oid, pg_relation_filenode('openregister_webhooks.registry'), \
        CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END) \
      FROM pg_control_system() c, pg_database d WHERE d.datname = current_database()) AS registry_lineage";

/// What tells one state of the registrations from every other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Stamp {
    /// Grows with every change.
    pub(super) revision: i64,
    /// Random, another one with every change.
    state: String,
    /// The cluster, its timeline, the database, the table's file: as long as they stay, nothing was restored, and changes
    /// have one order.
    lineage: String,
}

impl Stamp {
    pub(super) fn of(row: &Row) -> Self {
        Self {
            revision: row.get("registry_revision"),
            state: row.get("registry_state"),
            lineage: row.get("registry_lineage"),
        }
    }

    /// Whether one can have come of the other by changes alone.
    pub(super) fn is_akin(&self, other: &Self) -> bool {
        self.lineage == other.lineage
    }
}

/// When something was read, in this process's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reading {
    began: u64,
    ended: u64,
}

/// Counts the beginnings and ends of reads.
#[derive(Debug, Default)]
pub(super) struct Readings(AtomicU64);

impl Readings {
    /// A read begins: the statement is sent after this.
    pub(super) fn begin(&self) -> u64 {
        self.0.fetch_add(1, Ordering::AcqRel)
    }

    /// It ended: the answer was there before this.
    pub(super) fn end(&self, began: u64) -> Reading {
        Reading {
            began,
            ended: self.begin(),
        }
    }
}

/// Whether what `new` read takes the place of what `old` read.
///
/// A read that began when the other had ended saw what is newer, whatever its revision. Of two that overlap either may be the
/// newer one: where changes have one order, that with the later revision; else that which began later.
pub(super) fn replaces(new: (&Stamp, Reading), old: (&Stamp, Reading)) -> bool {
    let ((new_stamp, new), (old_stamp, old)) = (new, old);
    if new.began > old.ended {
        return true;
    }
    if new.ended < old.began {
        return false;
    }
    if new_stamp.is_akin(old_stamp) && new_stamp.revision != old_stamp.revision {
        return new_stamp.revision > old_stamp.revision;
    }
    new.began > old.began
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(revision: i64, lineage: &str) -> Stamp {
        Stamp {
            revision,
            state: format!("{lineage} {revision}"),
            lineage: lineage.to_owned(),
        }
    }

    /// Reads that began and ended in this order: two numbers each.
    fn read(began: u64, ended: u64) -> Reading {
        Reading { began, ended }
    }

    #[test]
    fn a_later_read_replaces_also_where_its_revision_is_earlier() {
        for lineage in ["a", "restored"] {
            for revision in [3, 5, 9] {
                let (old, new) = (stamp(5, "a"), stamp(revision, lineage));
                assert!(replaces((&new, read(2, 3)), (&old, read(0, 1))), "{revision}");
                assert!(!replaces((&old, read(0, 1)), (&new, read(2, 3))), "{revision}");
            }
        }
    }

    #[test]
    fn a_slow_read_that_began_before_the_restore_does_not_set_it_back() {
        let (before, after) = (stamp(9, "a"), stamp(3, "restored"));
        let (slow, quick) = (read(0, 3), read(1, 2));
        assert!(!replaces((&before, slow), (&after, quick)));
        assert!(replaces((&after, quick), (&before, slow)));
    }

    #[test]
    fn of_two_reads_at_once_the_later_revision_stays() {
        let (older, newer) = (stamp(4, "a"), stamp(5, "a"));
        // Whichever began first: a statement may be answered before one that was sent earlier.
        for (one, other) in [(read(0, 3), read(1, 2)), (read(1, 2), read(0, 3))] {
            assert!(replaces((&newer, one), (&older, other)));
            assert!(!replaces((&older, other), (&newer, one)));
        }
    }

    #[test]
    fn readings_are_counted_in_order() {
        let readings = Readings::default();
        let first = readings.begin();
        let second = readings.begin();
        let quick = readings.end(second);
        let slow = readings.end(first);
        assert!(slow.began < quick.began && quick.ended < slow.ended);
    }
}
