//! The reader's position and the tables that keep it, `position_0` and `position_1`. Nothing else writes them.

use tokio_postgres::types::{PgLsn, Type};
use tokio_postgres::{Client, Row};

use super::identity::Identity;
use super::snapshot::{NoSnapshot, Snapshot};
use crate::capture::change::{ChangeKey, Lsn, Xid};
use crate::database::Write;

/// Which changes are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    /// The number of the row; each new position has one more.
    pub(crate) n: i64,
    /// Every change that is visible in it is read.
    pub(crate) snapshot: Snapshot,
    /// Set between the batches of a difference that is larger than one batch: of the changes visible in this snapshot, those
    /// up to this key are read, too.
    pub(crate) window: Option<(Snapshot, ChangeKey)>,
}

impl Position {
    /// Whether this position, stored in the database `stored`, is meaningless in the database `current`, whose snapshot has the
    /// upper bound `xmax`: it is another cluster or database, or the same one after a restore to an earlier time.
    pub(crate) fn is_foreign(&self, stored: Identity, current: Identity, xmax: u64) -> bool {
        stored != current || self.snapshot.xmax() > xmax
    }
}

const COLUMNS: &str = "n, snapshot, \"window\", lsn, xid::text, ordinal, system_identifier, database_oid";

/// The newest position and the database it belongs to; `None` if nothing was ever read.
pub(crate) async fn load(client: &Client) -> Result<Option<(Position, Identity)>, LoadError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM (SELECT * FROM openregister_webhooks.position_0 UNION ALL \
         SELECT * FROM openregister_webhooks.position_1) p ORDER BY n DESC LIMIT 1"
    );
    let rows = client.query_typed(&sql, &[]).await?;
    rows.first().map(read).transpose()
}

fn read(row: &Row) -> Result<(Position, Identity), LoadError> {
    let window = match (
        row.get::<_, Option<&str>>(2),
        row.get::<_, Option<PgLsn>>(3),
        row.get::<_, Option<&str>>(4),
        row.get::<_, Option<i32>>(5),
    ) {
        (None, None, None, None) => None,
        (Some(window), Some(lsn), Some(xid), Some(ordinal)) => {
            let key = ChangeKey {
                lsn: Lsn(lsn.into()),
                xid: Xid(xid.parse().map_err(|_| LoadError::Window)?),
                ordinal,
            };
            Some((Snapshot::parse(window)?, key))
        }
        _ => return Err(LoadError::Window),
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
    #[error("its window is incomplete: snapshot, LSN, transaction id and ordinal belong together")]
    Window,
    #[error(transparent)]
    Query(#[from] tokio_postgres::Error),
}

/// How many positions are inserted into one table before the other one is emptied and used.
const PER_TABLE: i64 = 4096;

/// Empties the table that `position` goes into if that is its turn. To be called before [`save`], in the same transaction.
pub(crate) async fn make_room(client: &Client, position: &Position) -> Result<(), tokio_postgres::Error> {
    if position.n % PER_TABLE != 0 {
        return Ok(());
    }
    let table = table_of(position);
    // The other table holds the newest positions, this one only older ones. It is not emptied while somebody else reads it
    // (a dump of the database locks every table for hours): the newest row of both tables counts anyway.
    client
        .batch_execute(&format!(
            "DO $$ BEGIN LOCK TABLE openregister_webhooks.position_{table} IN ACCESS EXCLUSIVE MODE NOWAIT; \
             TRUNCATE openregister_webhooks.position_{table}; EXCEPTION WHEN lock_not_available THEN NULL; END $$"
        ))
        .await
}

const fn table_of(position: &Position) -> i64 {
    (position.n / PER_TABLE) % 2
}

/// Inserts a position into one of the two tables.
macro_rules! insert {
    ($table:literal) => {
        concat!(
            "INSERT INTO openregister_webhooks.position_",
            $table,
            " (n, snapshot, \"window\", lsn, xid, ordinal, system_identifier, database_oid) \
             VALUES ($1, $2, $3, $4, $5::text::xid8, $6, $7, $8) RETURNING pg_current_xact_id()::text"
        )
    };
}

/// Inserts `position`, in the transaction that turned its changes into deliveries. It returns that transaction's id: see [`own_id`].
pub(crate) fn save(position: &Position, identity: Identity) -> Write {
    let sql = if table_of(position) == 0 {
        insert!("0")
    } else {
        insert!("1")
    };
    let (window, key) = match &position.window {
        Some((snapshot, key)) => (Some(snapshot.as_str().to_owned()), Some(key)),
        None => (None, None),
    };
    Write::new(sql)
        .with(position.n, Type::INT8)
        .with(position.snapshot.as_str().to_owned(), Type::TEXT)
        .with(window, Type::TEXT)
        .with(key.map(|k| PgLsn::from(k.lsn.0)), Type::PG_LSN)
        .with(key.map(|k| k.xid.0.to_string()), Type::TEXT)
        .with(key.map(|k| k.ordinal), Type::INT4)
        .with(identity.system_identifier, Type::INT8)
        .with(identity.database_oid, Type::OID)
}

/// The id of the transaction that [`save`] was part of.
pub(crate) fn own_id(rows: &[Row]) -> Xid {
    // The text of an xid8 is always a number. Without it the mark is above every id, which makes no read begin too late.
    let own = rows.first().and_then(|r| r.get::<_, &str>(0).parse().ok());
    Xid(own.unwrap_or(u64::MAX))
}
