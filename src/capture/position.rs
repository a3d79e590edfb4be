//! How far the outbox is read, and where that is kept.
//!
//! A position says which changes are read: those visible in a snapshot, and, while a window is being worked through, those
//! visible in the window's snapshot up to a key. Positions are only ever inserted, into two tables emptied in turn: a row
//! that is updated a hundred times a second leaves dead rows that nobody may remove while a snapshot is held open.

use std::collections::BTreeMap;

use tokio_postgres::types::{PgLsn, Type};
use tokio_postgres::{Client, Row, Transaction};

use super::change::{ChangeKey, Lsn, Xid};

/// A `pg_snapshot`: which transactions had ended when it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    text: String,
    xmax: u64,
    in_progress: Vec<u64>,
}

/// A text that is no `pg_snapshot`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no pg_snapshot (xmin:xmax:xip,…)")]
pub struct NoSnapshot(String);

impl NoSnapshot {
    /// The server gave no row at all.
    pub(crate) const fn empty() -> Self {
        Self(String::new())
    }
}

impl Snapshot {
    /// The snapshot in which nothing had ended: everything counts as unread.
    pub(crate) fn beginning() -> Self {
        Self {
            text: "3:3:".into(),
            xmax: 3,
            in_progress: Vec::new(),
        }
    }

    /// Reads PostgreSQL's text form.
    pub(crate) fn parse(text: &str) -> Result<Self, NoSnapshot> {
        let none = || NoSnapshot(text.to_owned());
        let mut parts = text.splitn(3, ':');
        let mut part = || parts.next().ok_or_else(none);
        let _xmin: u64 = part()?.parse().map_err(|_| none())?;
        let xmax = part()?.parse().map_err(|_| none())?;
        let list = part()?;
        let in_progress = list
            .split(',')
            .filter(|x| !x.is_empty())
            .map(|x| x.parse().map_err(|_| none()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.to_owned(),
            xmax,
            in_progress,
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The first transaction id that was not yet given out.
    pub(crate) const fn xmax(&self) -> u64 {
        self.xmax
    }
}

/// Below which LSN nothing unread can lie, so that a read need not step over what is read already.
///
/// Transaction ids are given out in ascending order, so whoever has a larger id than a reading transaction captures above
/// every LSN that was observed before that reading transaction got its own. A snapshot tells no such thing: its xmax is
/// one past the last transaction that *ended*, so one beyond xmax may have captured long before.
#[derive(Debug, Default)]
pub(crate) struct Floors {
    /// A reading transaction's id, and the LSN that was observed before it got that.
    marks: BTreeMap<u64, Lsn>,
}

impl Floors {
    /// Where reading the difference between `current` and `new` must begin. A transaction that stays open costs nothing
    /// until it ends.
    pub(crate) fn from(&self, current: &Snapshot, new: &Snapshot) -> Lsn {
        let ended = current
            .in_progress
            .iter()
            .filter(|xid| !new.in_progress.contains(xid));
        // Ids beyond xmax may all be new.
        let oldest = ended.copied().fold(current.xmax, u64::min);
        self.below(oldest).map(|(_, lsn)| lsn).unwrap_or_default()
    }

    /// The transaction `own` read, after `observed` had been the insert position; `current` is what is read now.
    pub(crate) fn mark(&mut self, own: Xid, observed: Lsn, current: &Snapshot) {
        self.marks.insert(own.0, observed);
        // Needed are the newest, and for whoever may still turn up the newest below.
        let needed: Vec<u64> = current
            .in_progress
            .iter()
            .chain([&current.xmax, &u64::MAX])
            .filter_map(|xid| self.below(*xid).map(|(mark, _)| mark))
            .collect();
        self.marks
            .retain(|mark, _| *mark > current.xmax || needed.contains(mark));
    }

    fn below(&self, xid: u64) -> Option<(u64, Lsn)> {
        self.marks
            .range(..xid)
            .next_back()
            .map(|(mark, lsn)| (*mark, *lsn))
    }
}

/// Which changes are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    /// Grows by one with every row.
    pub(crate) n: i64,
    pub(crate) snapshot: Snapshot,
    /// Set between the batches of a difference that is larger than one batch.
    pub(crate) window: Option<(Snapshot, ChangeKey)>,
}

impl Position {
    /// Whether this position, stored in the cluster `stored`, means nothing in the cluster `current`, whose next
    /// transaction id is `xmax`: it is another cluster or database, or the same one gone back in time.
    pub(crate) fn is_foreign(&self, stored: Identity, current: Identity, xmax: u64) -> bool {
        stored != current || self.snapshot.xmax() > xmax
    }
}

/// Which cluster the LSNs and transaction ids belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub system_identifier: i64,
    pub database_oid: u32,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "cluster {} database {}",
            self.system_identifier, self.database_oid
        )
    }
}

const COLUMNS: &str = "n, snapshot, \"window\", lsn, xid::text, ordinal, system_identifier, database_oid";

/// The identity of the cluster that `client` is connected to, and its next transaction id.
pub(crate) async fn current_identity(client: &Client) -> Result<(Identity, u64), tokio_postgres::Error> {
    let row = client
        .query_typed(
            "SELECT (SELECT system_identifier FROM pg_control_system()), \
                    (SELECT oid FROM pg_database WHERE datname = current_database()), \
                    pg_snapshot_xmax(pg_current_snapshot())::text",
            &[],
        )
        .await?;
    let row = row.first();
    let identity = Identity {
        system_identifier: row.map_or(0, |r| r.get(0)),
        database_oid: row.map_or(0, |r| r.get(1)),
    };
    Ok((
        identity,
        row.and_then(|r| r.get::<_, String>(2).parse().ok()).unwrap_or(0),
    ))
}

/// The newest position and the cluster it belongs to; `None` where nothing was ever read.
pub(crate) async fn load(client: &Client) -> Result<Option<(Position, Identity)>, LoadError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM (SELECT * FROM openregister_webhooks.position_0 UNION ALL \
         SELECT * FROM openregister_webhooks.position_1) p ORDER BY n DESC LIMIT 1"
    );
    let rows = client.query_typed(&sql, &[]).await?;
    rows.first().map(read).transpose()
}

fn read(row: &Row) -> Result<(Position, Identity), LoadError> {
    let window = match (row.get::<_, Option<String>>(2), row.get::<_, Option<PgLsn>>(3)) {
        (Some(window), Some(lsn)) => {
            let xid: Option<String> = row.get(4);
            let key = ChangeKey {
                lsn: Lsn(lsn.into()),
                xid: Xid(xid.and_then(|x| x.parse().ok()).unwrap_or(0)),
                ordinal: row.get::<_, Option<i32>>(5).unwrap_or(0),
            };
            Some((Snapshot::parse(&window)?, key))
        }
        _ => None,
    };
    let position = Position {
        n: row.get(0),
        snapshot: Snapshot::parse(row.get(1))?,
        window,
    };
    Ok((
        position,
        Identity {
            system_identifier: row.get(6),
            database_oid: row.get(7),
        },
    ))
}

/// Why the position could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Snapshot(#[from] NoSnapshot),
    #[error(transparent)]
    Query(#[from] tokio_postgres::Error),
}

/// How many positions go into one table before the other is emptied and used.
const PER_TABLE: i64 = 4096;

/// Inserts `position`, in the transaction that turned its changes into deliveries; gives that transaction's id.
pub(crate) async fn save(
    tx: &Transaction<'_>,
    position: &Position,
    identity: Identity,
) -> Result<Xid, tokio_postgres::Error> {
    let table = (position.n / PER_TABLE) % 2;
    if position.n % PER_TABLE == 0 {
        // The other table holds the newest positions; this one only older ones. While somebody else reads it (a dump
        // of the database holds every table for hours) it is not emptied: the newest row of both counts anyway.
        tx.batch_execute(&format!(
            "DO $$ BEGIN LOCK TABLE openregister_webhooks.position_{table} IN ACCESS EXCLUSIVE MODE NOWAIT; \
             TRUNCATE openregister_webhooks.position_{table}; EXCEPTION WHEN lock_not_available THEN NULL; END $$"
        ))
        .await?;
    }
    let (window, key) = match &position.window {
        Some((snapshot, key)) => (Some(snapshot.as_str()), Some(key)),
        None => (None, None),
    };
    let rows = tx
        .query_typed(
            &format!(
                "INSERT INTO openregister_webhooks.position_{table} \
             (n, snapshot, \"window\", lsn, xid, ordinal, system_identifier, database_oid) \
             VALUES ($1, $2, $3, $4, $5::xid8, $6, $7, $8) RETURNING pg_current_xact_id()::text"
            ),
            &[
                (&position.n, Type::INT8),
                (&position.snapshot.as_str(), Type::TEXT),
                (&window, Type::TEXT),
                (&key.map(|k| PgLsn::from(k.lsn.0)), Type::PG_LSN),
                (&key.map(|k| k.xid.0.to_string()), Type::TEXT),
                (&key.map(|k| k.ordinal), Type::INT4),
                (&identity.system_identifier, Type::INT8),
                (&identity.database_oid, Type::OID),
            ],
        )
        .await?;
    // The text of an xid8 is a number; were there none, the mark would be one that serves nobody.
    let own = rows.first().and_then(|r| r.get::<_, &str>(0).parse().ok());
    Ok(Xid(own.unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        Snapshot::parse(text).unwrap()
    }

    #[test]
    fn snapshots_are_read_strictly() {
        assert_eq!(snapshot("10:20:12,15").in_progress, [12, 15]);
        assert_eq!(snapshot("10:20:").xmax(), 20);
        for wrong in ["", "10", "10:20", "a:b:", "10:20:x"] {
            assert!(Snapshot::parse(wrong).is_err(), "{wrong}");
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
