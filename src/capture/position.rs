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
/// A transaction that had no id yet when a snapshot was taken captures above every LSN observed before that snapshot. One
/// that was in progress keeps the floor of the snapshot in which it appeared; its rows are looked for only once it has
/// ended, so a transaction that stays open costs nothing meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Floors {
    /// Observed before the current snapshot was taken.
    next: Lsn,
    /// The insert position observed with the current snapshot: a floor for the one after it.
    observed: Lsn,
    in_progress: BTreeMap<u64, Lsn>,
}

impl Floors {
    /// Where reading the difference between the current snapshot and `new` must begin.
    pub(crate) fn from(&self, new: &Snapshot) -> Lsn {
        let ended = self
            .in_progress
            .iter()
            .filter(|(xid, _)| !new.in_progress.contains(xid));
        ended
            .map(|(_, floor)| *floor)
            .chain([self.next])
            .min()
            .unwrap_or_default()
    }

    /// `new` became the current snapshot; `observed` is the insert position read in the same statement, i.e. after it.
    pub(crate) fn advance(&mut self, new: &Snapshot, observed: Lsn) {
        self.in_progress = new
            .in_progress
            .iter()
            .map(|xid| (*xid, self.in_progress.get(xid).copied().unwrap_or(self.next)))
            .collect();
        self.next = self.observed;
        self.observed = observed;
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

/// Which cluster the LSNs and transaction ids belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub system_identifier: i64,
    pub database_oid: u32,
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

/// Inserts `position`, in the transaction that turned its changes into deliveries.
pub(crate) async fn save(
    tx: &Transaction<'_>,
    position: &Position,
    identity: Identity,
) -> Result<(), tokio_postgres::Error> {
    let table = (position.n / PER_TABLE) % 2;
    if position.n % PER_TABLE == 0 {
        // The other table holds the newest positions; this one only older ones.
        tx.batch_execute(&format!("TRUNCATE openregister_webhooks.position_{table}"))
            .await?;
    }
    let (window, key) = match &position.window {
        Some((snapshot, key)) => (Some(snapshot.as_str()), Some(key)),
        None => (None, None),
    };
    tx.query_typed(
        &format!(
            "INSERT INTO openregister_webhooks.position_{table} \
             (n, snapshot, \"window\", lsn, xid, ordinal, system_identifier, database_oid) \
             VALUES ($1, $2, $3, $4, $5::xid8, $6, $7, $8)"
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
    .await
    .map(drop)
}

#[cfg(test)]
mod tests {
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
    fn a_floor_is_never_above_what_a_transaction_could_have_written() {
        let mut floors = Floors::default();
        floors.advance(&snapshot("10:10:"), Lsn(100));
        // 11 began after the first snapshot, hence above what was observed before it: nothing is known yet but 0.
        floors.advance(&snapshot("11:12:11"), Lsn(200));
        assert_eq!(floors.from(&snapshot("13:13:")), Lsn(0));
        floors.advance(&snapshot("11:15:11,14"), Lsn(300));
        // 11 still open: what is new lies above what was observed before the current snapshot.
        assert_eq!(floors.from(&snapshot("11:16:11,14")), Lsn(200));
        // 14 ended: it had no id at the snapshot before, taken after 100 had been observed.
        assert_eq!(floors.from(&snapshot("11:16:11")), Lsn(100));
        // 11 ended: back to where it began.
        assert_eq!(floors.from(&snapshot("14:16:14")), Lsn(0));
    }
}
