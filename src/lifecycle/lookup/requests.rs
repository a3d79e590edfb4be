//! What the request of an audit row did right before it.

use chrono::{DateTime, TimeDelta, Utc};
use tokio_postgres::GenericClient;
use tokio_postgres::types::{PgLsn, Type};

use super::statements::{LookupError, image, query_own};
use crate::capture::queries;
use crate::lifecycle::facts::LockQuery;
use crate::lifecycle::store;
use orw_model::{Action, ObjectRow, Row, TableName};

/// How far before an audit row the lock events of its request can be.
const LOCK_WINDOW: TimeDelta = TimeDelta::seconds(10);

/// The actions of the events that a backend caused for an object lately, the newest first.
pub(super) async fn lock_events(
    tx: &impl GenericClient,
    need: &LockQuery,
) -> Result<Vec<Action>, LookupError> {
    let since: DateTime<Utc> = need.at - LOCK_WINDOW;
    let found = store::recent_actions(tx, &need.lane(), need.pid, since, need.at).await;
    found.map_err(|source| LookupError::Query {
        what: "stored events",
        source,
    })
}

/// The table (without prefix) and the object's row as the backend wrote it right before the audit row, if the outbox still has it.
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
    let sql = queries::written_before();
    let rows = query_own(
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
