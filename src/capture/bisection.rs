//! Batch bisection: finds the one change that makes a batch fail.
//!
//! If a batch fails because of its data, the next batch has half as many changes; if that fails, too, half of those, until one
//! change is left. If it fails twice alone, the reader quarantines it. What is read meanwhile is read in order, and its position is
//! stored. The state lives as long as the process: a new connection does not reset it.

use super::change::ChangeKey;
use super::fault::Fault;

/// Which change: its key, and whether it is in the outbox or in `change_adopted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) adopted: bool,
    pub(super) key: ChangeKey,
}

/// How often a change fails alone before it is quarantined.
const ALONE: u32 = 2;

/// The state of the search.
#[derive(Debug, Default)]
pub(super) struct BatchBisection {
    /// How many changes are left of the smallest batch that failed; 0 if nothing fails.
    suspects: usize,
    /// The change that failed alone, how often, and why.
    alone: Option<(Place, u32, String)>,
    /// How many changes are in the batch under way.
    under_way: usize,
}

/// What to do after a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Read a smaller batch at once.
    Smaller,
    /// Wait, and read the same batch again.
    Wait,
}

impl BatchBisection {
    /// How many changes to read if a full batch has `full`.
    pub(super) fn limit(&self, full: i64) -> i64 {
        match self.suspects {
            0 => full,
            suspects => i64::try_from(suspects / 2).unwrap_or(full).clamp(1, full),
        }
    }

    /// Why the change at `place` must be quarantined; `None` if it need not be.
    pub(super) fn must_quarantine(&self, place: Place) -> Option<&str> {
        let (suspect, failures, reason) = self.alone.as_ref()?;
        (*suspect == place && *failures >= ALONE).then_some(reason)
    }

    /// A batch of so many changes begins.
    pub(super) const fn begin(&mut self, changes: usize) {
        self.under_way = changes;
    }

    /// So many changes are committed.
    pub(super) fn done(&mut self, changes: usize) {
        self.under_way = 0;
        self.suspects = self.suspects.saturating_sub(changes);
        if self.suspects == 0 {
            self.alone = None;
        }
    }

    /// A batch of so many changes failed; the first of them is at `first`.
    pub(super) fn failed(&mut self, fault: Fault, changes: usize, first: Place, reason: &str) -> Next {
        self.under_way = 0;
        match (fault, changes) {
            (Fault::Elsewhere, _) | (Fault::Weight, 0 | 1) | (Fault::Data, 0) => Next::Wait,
            (Fault::Data, 1) => {
                let before = match &self.alone {
                    Some((place, failures, _)) if *place == first => *failures,
                    _ => 0,
                };
                self.suspects = 1;
                self.alone = Some((first, before + 1, reason.to_owned()));
                Next::Smaller
            }
            (Fault::Data | Fault::Weight, _) => {
                self.suspects = changes;
                Next::Smaller
            }
        }
    }

    /// The batch under way did not end in time.
    pub(super) fn stuck(&mut self) {
        let changes = std::mem::take(&mut self.under_way);
        if changes > 1 {
            self.suspects = changes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::change::{Lsn, Xid};
    use super::*;

    fn place(n: u64) -> Place {
        Place {
            adopted: false,
            key: ChangeKey {
                lsn: Lsn(n),
                xid: Xid(1),
                ordinal: 0,
            },
        }
    }

    /// Reads `total` changes, of which `poison` fail; what was put aside, what was done, in how many reads.
    fn read(total: u64, full: i64, poison: &BTreeSet<u64>, fault: Fault) -> (Vec<u64>, Vec<u64>, u32) {
        let (mut aside, mut done, mut reads) = (Vec::new(), Vec::new(), 0);
        let mut bisection = BatchBisection::default();
        let mut next = 0;
        while next < total && reads < 10_000 {
            reads += 1;
            let end = total.min(next + u64::try_from(bisection.limit(full)).unwrap());
            let count = usize::try_from(end - next).unwrap();
            if count == 1 && bisection.must_quarantine(place(next)).is_some() {
                aside.push(next);
            } else if (next..end).any(|n| poison.contains(&n)) {
                if bisection.failed(fault, count, place(next), "poison") == Next::Wait {
                    break;
                }
                continue;
            } else {
                done.extend(next..end);
            }
            bisection.done(count);
            next = end;
        }
        (aside, done, reads)
    }

    proptest! {
        #[test]
        fn the_guilty_alone_are_put_aside(
            total in 1..300_u64, full in 1..200_i64, poison in prop::collection::btree_set(0..300_u64, 0..5)
        ) {
            let (aside, done, reads) = read(total, full, &poison, Fault::Data);
            let guilty: Vec<u64> = poison.iter().copied().filter(|n| *n < total).collect();
            prop_assert_eq!(&aside, &guilty);
            prop_assert_eq!(done, (0..total).filter(|n| !poison.contains(n)).collect::<Vec<_>>());
            let full = u32::try_from(full).unwrap();
            let bound = u32::try_from(total).unwrap().div_ceil(full) + u32::try_from(guilty.len()).unwrap() * (2 * full.ilog2() + 6);
            prop_assert!(reads <= bound, "{} reads, {} allowed", reads, bound);
        }

        #[test]
        fn for_any_other_fault_nothing_is_put_aside(poison in prop::collection::btree_set(0..100_u64, 1..5)) {
            for fault in [Fault::Weight, Fault::Elsewhere] {
                let (aside, done, _) = read(100, 40, &poison, fault);
                prop_assert_eq!(aside, Vec::<u64>::new());
                prop_assert!(done.len() as u64 <= *poison.first().unwrap());
            }
        }
    }

    #[test]
    fn what_does_not_end_in_time_is_halved() {
        let mut bisection = BatchBisection::default();
        bisection.begin(100);
        bisection.stuck();
        assert_eq!(bisection.limit(1000), 50);
        bisection.begin(1);
        bisection.stuck();
        bisection.done(100);
        assert_eq!(bisection.limit(1000), 1000);
    }
}
