//! The lower bounds of reads: from which LSN on unread changes can lie.

use std::collections::BTreeMap;

use tokio_postgres::types::PgLsn;

use super::snapshot::Snapshot;
use crate::capture::change::{Lsn, Xid};

/// Remembers below which LSN nothing unread can lie, so that a read does not step over changes that are read already.
///
/// Transaction ids are assigned in ascending order. A transaction with a larger id than a transaction of the reader therefore
/// captures above every LSN that was observed before the reader's transaction got its id. A snapshot does not say as much:
/// its xmax is one past the last transaction that *ended*, so a transaction beyond xmax may have captured long before.
#[derive(Debug, Default)]
pub(crate) struct Floors {
    /// By the id of a transaction of the reader: the LSN that was observed before it got that id.
    marks: BTreeMap<u64, Lsn>,
}

impl Floors {
    /// Where reading the difference between `current` and a later snapshot must begin. A transaction that stays open lowers it only
    /// once it ends, so that depends on the later snapshot.
    pub(crate) fn after(&self, current: &Snapshot) -> EarlierFloor {
        let floor = |xid| self.below(xid).map(|(_, lsn)| lsn).unwrap_or_default();
        // Any id from xmax on may be new.
        let usual = floor(current.xmax);
        let open = current.in_progress.iter().map(|xid| (*xid, floor(*xid)));
        EarlierFloor {
            usual,
            open: open.filter(|(_, lsn)| *lsn < usual).collect(),
        }
    }

    /// Records a read: the reader's transaction got the id `own` after the insert position `observed` was seen; everything
    /// visible in `current` is now read. Drops the marks that no later read can need.
    pub(crate) fn mark(&mut self, own: Xid, observed: Lsn, current: &Snapshot) {
        self.marks.insert(own.0, observed);
        // Needed: the newest mark, and for each transaction that may still end the newest mark below it.
        let needed: Vec<u64> = current
            .in_progress
            .iter()
            .chain([&current.xmax, &u64::MAX])
            .filter_map(|xid| self.below(*xid).map(|(mark, _)| mark))
            .collect();
        self.marks
            .retain(|mark, _| *mark > current.xmax || needed.contains(mark));
    }

    /// The newest mark below a transaction id.
    fn below(&self, xid: u64) -> Option<(u64, Lsn)> {
        self.marks
            .range(..xid)
            .next_back()
            .map(|(mark, lsn)| (*mark, *lsn))
    }
}

/// The LSN at which a read must begin, as far as it is known before its snapshot is.
#[derive(Debug, Default)]
pub(crate) struct EarlierFloor {
    usual: Lsn,
    /// Transactions that were open, and the lower LSN that counts once one of them has ended.
    open: Vec<(u64, Lsn)>,
}

impl EarlierFloor {
    /// The LSN, if no transaction of [`Self::ended_lower`] has ended.
    pub(crate) const fn usual(&self) -> Lsn {
        self.usual
    }

    /// Transactions that were open, as texts, and the LSN that counts once one of them has ended.
    pub(crate) fn ended_lower(&self) -> (Vec<String>, Vec<PgLsn>) {
        let open = self.open.iter();
        open.map(|(xid, lsn)| (xid.to_string(), PgLsn::from(lsn.0)))
            .unzip()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        Snapshot::parse(text).unwrap()
    }

    impl Floors {
        /// As the statement of a read has it: of the open transactions those count that `new` shows.
        fn from(&self, current: &Snapshot, new: &Snapshot) -> Lsn {
            let floor = self.after(current);
            let ended = floor
                .open
                .iter()
                .filter(|(xid, _)| !new.in_progress.contains(xid));
            ended.map(|(_, lsn)| *lsn).fold(floor.usual, Lsn::min)
        }
    }

    #[test]
    fn a_floor_is_that_of_the_oldest_transaction_that_may_turn_up() {
        let mut floors = Floors::default();
        assert_eq!(floors.from(&snapshot("3:3:"), &snapshot("11:11:")), Lsn(0));
        floors.mark(Xid(10), Lsn(100), &snapshot("10:10:"));
        // 12 had its id before 13 was read with, but nothing after it had ended: the snapshot did not name it.
        floors.mark(Xid(13), Lsn(200), &snapshot("12:12:"));
        assert_eq!(floors.from(&snapshot("12:12:"), &snapshot("14:14:")), Lsn(100));
        // 12 stays open.
        assert_eq!(
            floors.from(&snapshot("12:14:12"), &snapshot("12:15:12")),
            Lsn(200)
        );
        floors.mark(Xid(15), Lsn(300), &snapshot("12:14:12"));
        floors.mark(Xid(16), Lsn(400), &snapshot("12:16:12"));
        assert_eq!(
            floors.from(&snapshot("12:17:12"), &snapshot("12:18:12")),
            Lsn(400)
        );
        // And ends.
        assert_eq!(floors.from(&snapshot("12:17:12"), &snapshot("18:18:")), Lsn(100));
    }

    /// A server with transactions as PostgreSQL has them, a reader, and the marks that it keeps.
    #[derive(Default)]
    struct Simulation {
        lsn: u64,
        last_assigned: u64,
        last_ended: u64,
        open: BTreeMap<u64, Vec<u64>>,
        committed: Vec<(u64, u64)>,
        read: std::collections::BTreeSet<(u64, u64)>,
        floors: Floors,
        current: Option<Snapshot>,
    }

    impl Simulation {
        fn assign(&mut self) -> u64 {
            self.last_assigned += 1;
            self.last_assigned
        }

        fn end(&mut self, xid: u64, commit: bool) {
            let lsns = self.open.remove(&xid).unwrap();
            self.lsn += 1;
            self.last_ended = self.last_ended.max(xid);
            if commit {
                self.committed.extend(lsns.into_iter().map(|lsn| (lsn, xid)));
            }
        }

        /// Its xmax is one past the last transaction that ended, as GetSnapshotData has it.
        fn snapshot(&self) -> Snapshot {
            let xmax = self.last_ended + 1;
            let running: Vec<String> = self.open.range(..xmax).map(|(xid, _)| xid.to_string()).collect();
            let xmin = running.first().cloned().unwrap_or_else(|| xmax.to_string());
            snapshot(&format!("{xmin}:{xmax}:{}", running.join(",")))
        }

        fn visible(xid: u64, in_snapshot: &Snapshot) -> bool {
            xid < in_snapshot.xmax && !in_snapshot.in_progress.contains(&xid)
        }

        /// `between`: what others do after the snapshot is taken and before the reader has its id.
        fn read(&mut self, between: &[Step]) {
            let current = self.current.clone().unwrap_or_else(Snapshot::beginning);
            let (new, observed) = (self.snapshot(), Lsn(self.lsn));
            let floor = self.floors.from(&current, &new);
            between.iter().for_each(|step| self.step(step));
            let unread: Vec<(u64, u64)> = self
                .committed
                .iter()
                .copied()
                .filter(|(_, xid)| !Self::visible(*xid, &current) && Self::visible(*xid, &new))
                .collect();
            for change in &unread {
                assert!(change.0 >= floor.0, "{change:?} lies below {floor:?}");
                assert!(self.read.insert(*change), "{change:?} is read twice");
            }
            if !unread.is_empty() {
                let own = self.assign();
                self.open.insert(own, Vec::new());
                self.end(own, true);
                self.floors.mark(Xid(own), observed, &new);
                let bound = new.in_progress.len() + 4;
                assert!(
                    self.floors.marks.len() <= bound,
                    "{} marks",
                    self.floors.marks.len()
                );
            }
            self.current = Some(new);
        }

        fn step(&mut self, step: &Step) {
            let nth = |open: &BTreeMap<u64, Vec<u64>>, n: usize| {
                (!open.is_empty()).then(|| *open.keys().nth(n % open.len()).unwrap())
            };
            match step {
                Step::Begin => {
                    let xid = self.assign();
                    self.open.insert(xid, Vec::new());
                }
                Step::Write(n) => {
                    if let Some(xid) = nth(&self.open, *n) {
                        self.open.get_mut(&xid).unwrap().push(self.lsn);
                        self.lsn += 1;
                    }
                }
                Step::End(n, commit) => {
                    if let Some(xid) = nth(&self.open, *n) {
                        self.end(xid, *commit);
                    }
                }
                Step::Read(between) => self.read(between),
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Begin,
        Write(usize),
        End(usize, bool),
        Read(Vec<Self>),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => Just(Step::Begin),
            6 => (0..8_usize).prop_map(Step::Write),
            3 => ((0..8_usize), prop::bool::weighted(0.8)).prop_map(|(n, commit)| Step::End(n, commit)),
        ];
        let between = prop::collection::vec(step.clone(), 0..4).prop_map(Step::Read);
        prop::collection::vec(prop_oneof![4 => step, 1 => between], 1..200)
    }

    proptest! {
        #[test]
        fn a_floor_never_skips_a_change(steps in steps()) {
            let mut simulation = Simulation { last_assigned: 10, last_ended: 10, ..Simulation::default() };
            steps.iter().for_each(|step| simulation.step(step));
            while !simulation.open.is_empty() {
                simulation.step(&Step::End(0, true));
            }
            simulation.read(&[]);
            prop_assert_eq!(simulation.read.len(), simulation.committed.len());
        }
    }
}
