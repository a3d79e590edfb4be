//! What an audit row is about: what its request did right before it.

use chrono::{DateTime, TimeDelta, Utc};
use tokio_postgres::GenericClient;
use tokio_postgres::types::{PgLsn, Type};

use super::{LOOK_AHEAD, LookupError, image, query};
use crate::lifecycle::facts::LockQuery;
use orw_model::{Action, EventClass, ObjectRow, Row, TableName};

/// How far before an audit row the lock events of its request can be.
const LOCK_WINDOW: TimeDelta = TimeDelta::seconds(10);

/// What the events were that a backend caused of an object lately, the newest first.
pub(super) async fn lock_events(
    tx: &impl GenericClient,
    need: &LockQuery,
) -> Result<Vec<Action>, LookupError> {
    let since: DateTime<Utc> = need.at - LOCK_WINDOW;
    let rows = query(
        tx,
        "stored events",
        "SELECT class FROM openregister_webhooks.event
          WHERE lane = $1 AND pid = $2 AND at BETWEEN $3 AND $4 ORDER BY seq DESC LIMIT 10",
        &[
            (&need.lane().as_str(), Type::TEXT),
            (&need.pid, Type::INT4),
            (&since, Type::TIMESTAMPTZ),
            (&need.at, Type::TIMESTAMPTZ),
        ],
    )
    .await?;
    Ok(rows
        .iter()
        .filter_map(|row| EventClass::from_short(row.get(0)))
        .map(EventClass::action)
        .collect())
}

/// The object's row as the backend wrote it right before the audit row, if the outbox has not been emptied since.
pub(super) async fn lock_image(
    tx: &impl GenericClient,
    prefix: &str,
    need: &LockQuery,
) -> Result<Option<(String, Row)>, LookupError> {
    let tables: Vec<String> = need
        .tables
        .iter()
        .map(|table| format!("{prefix}{table}"))
        .collect();
    let sql = format!(
        "SELECT tbl, new FROM (SELECT * FROM openregister_webhooks.change
                                WHERE (lsn, xid, ordinal) < ($1, $2::text::xid8, $3) AND lsn <= $1
                                ORDER BY lsn DESC, xid DESC, ordinal DESC LIMIT {LOOK_AHEAD}) c
          WHERE pid = $4 AND tbl = ANY($5) AND op IN ('N', 'U') AND new IS NOT NULL
          ORDER BY lsn DESC, xid DESC, ordinal DESC LIMIT 10"
    );
    let rows = query(
        tx,
        "the outbox",
        &sql,
        &[
            (&PgLsn::from(need.key.lsn.0), Type::PG_LSN),
            (&need.key.xid.0.to_string(), Type::TEXT),
            (&need.key.ordinal, Type::INT4),
            (&need.pid, Type::INT4),
            (&tables, Type::TEXT_ARRAY),
        ],
    )
    .await?;
    Ok(rows.iter().find_map(|row| {
        let table = TableName::parse(row.get(0), prefix)?;
        let found = image(row.get(1))?;
        (ObjectRow::new(&table, &found).uuid() == Some(&need.uuid)).then(|| (table.name().to_owned(), found))
    }))
}
