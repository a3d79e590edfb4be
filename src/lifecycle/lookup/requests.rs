//! What an audit row is about: what its request did right before it.

use chrono::{DateTime, TimeDelta, Utc};
use tokio_postgres::GenericClient;
use tokio_postgres::types::{PgLsn, Type};

use super::{LOOK_AHEAD, LookupError, ask, image, query, tables_of};
use crate::lifecycle::facts::{Facts, LockNeed, Needs};
use crate::lifecycle::host::Host;
use crate::openregister::{Action, EventClass, ObjectRow, Row, TableName};

/// How far before an audit row the lock events of its request can be.
const LOCK_WINDOW: TimeDelta = TimeDelta::seconds(10);
/// How many audit rows before an `unlock` are searched for the `update` of its request.
const AUDIT_WINDOW: i64 = 1000;

/// Which `unlock` rows follow an `update` of the same request. The rows of one request are close together, so a range
/// of the primary key is enough and needs no index of its own.
pub(super) async fn requests(
    host: &mut Host,
    prefix: &str,
    needs: &Needs,
    facts: &mut Facts,
) -> Result<(), LookupError> {
    let audits: Vec<i64> = needs.requests.iter().map(|need| need.audit).collect();
    let uuids: Vec<&str> = needs.requests.iter().map(|need| need.uuid.as_str()).collect();
    let requests: Vec<&str> = needs.requests.iter().map(|need| need.request.as_str()).collect();
    let mut tables = tables_of(host).await?;
    let sql = format!(
        "SELECT q.audit FROM unnest($1::int8[], $2::text[], $3::text[]) q (audit, uuid, request)
          WHERE EXISTS (SELECT FROM {} a
                         WHERE a.id > q.audit - {AUDIT_WINDOW} AND a.id < q.audit AND a.action = 'update'
                           AND a.object_uuid = q.uuid AND a.request = q.request)",
        tables.name(&format!("{prefix}openregister_audit_trails"))
    );
    let rows = ask(
        host,
        "audit trails",
        &tables,
        &[&sql],
        &[
            (&audits, Type::INT8_ARRAY),
            (&uuids, Type::TEXT_ARRAY),
            (&requests, Type::TEXT_ARRAY),
        ],
    )
    .await?;
    facts.requests = rows.iter().map(|row| row.get(0)).collect();
    Ok(())
}

pub(super) async fn lock_events(
    tx: &impl GenericClient,
    need: &LockNeed,
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
    need: &LockNeed,
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
