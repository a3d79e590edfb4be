//! The classifier with its lookups in Nextcloud's tables.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use tokio_postgres::GenericClient;
use tokio_postgres::types::{PgLsn, ToSql, Type};

use super::core::{Core, Decoded};
use super::facts::{Facts, LockFacts, LockNeed, Needs, User};
use super::local_time;
use super::outcome::Outcome;
use super::settings::LifecycleSettings;
use crate::capture::{Change, ChangeKey, Lsn, Xid};
use crate::openregister::{Action, EventClass, ObjectRow, Row, Store, TableName, parse_row};

/// Why a batch could not be worked on; nothing of it may be committed.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    #[error(
        "cannot look up {what}: {source}; does the sidecar's role have SELECT on that table? `doctor` says"
    )]
    Query {
        what: &'static str,
        #[source]
        source: tokio_postgres::Error,
    },
}

/// How far before an audit row the lock events of its request can be.
const LOCK_WINDOW: TimeDelta = TimeDelta::seconds(10);
/// How many audit rows before an `unlock` are searched for the `update` of its request.
const AUDIT_WINDOW: i64 = 1000;
/// How many unread changes of registers (or schemas) are undone to know them as they were.
const UNREAD: u32 = 1000;
/// How many changes after a batch are searched for the DELETE that ends a migration out of the blob table, and how many
/// before an audit row for the UPDATE of its request.
const LOOK_AHEAD: u32 = 500;
/// The table of the first generation's objects.
const BLOB: &str = "openregister_objects";
// Rows are called "orw row" below: a column of a magic table has the name of a property, which may be any short alias, but
// never holds a space.

/// How many magic tables one statement searches for an object's other row.
const TABLES_PER_QUERY: usize = 100;

/// Turns changes into events, looking up what they need, in the transaction they are worked on in.
#[derive(Debug)]
pub struct Lifecycle {
    prefix: String,
    core: Core,
    /// A batch was worked on and [`Self::committed`] was not called since: memory may be ahead of the database.
    uncommitted: bool,
}

impl Lifecycle {
    #[must_use]
    pub fn new(settings: LifecycleSettings) -> Self {
        Self {
            prefix: settings.table_prefix.clone(),
            core: Core::new(settings),
            uncommitted: false,
        }
    }

    /// Works on the next changes. `changes` come in the order of the stream; the events are in the same order.
    /// Call [`Self::committed`] when the transaction has committed: where it has not, everything is forgotten, so that
    /// the same changes give the same events again.
    ///
    /// # Errors
    /// Where a lookup fails. The transaction is then aborted.
    pub async fn process(
        &mut self,
        tx: &impl GenericClient,
        changes: Vec<Change>,
    ) -> Result<Outcome, LookupError> {
        if std::mem::replace(&mut self.uncommitted, true) {
            self.core.forget();
        }
        let mut decoded = Vec::with_capacity(changes.len());
        let mut undecodable = Vec::new();
        for change in changes {
            match Decoded::read(change) {
                Ok(change) => decoded.push(change),
                Err(reason) => undecodable.push(*reason),
            }
        }
        let needs = self.core.needs(&decoded);
        let last = decoded.last().map(|decoded| decoded.change.key);
        let facts = look_up(tx, &self.prefix, &needs, last).await?;
        let mut outcome = self.core.classify(decoded, needs, &facts);
        outcome.undecodable = undecodable;
        Ok(outcome)
    }

    /// The transaction of the last batch has committed.
    pub fn committed(&mut self) {
        self.uncommitted = false;
    }
}

/// Looks up what a batch needs: a handful of statements, whatever its size, and none where nothing is needed.
pub(super) async fn look_up(
    tx: &impl GenericClient,
    prefix: &str,
    needs: &Needs,
    last: Option<ChangeKey>,
) -> Result<Facts, LookupError> {
    if needs.is_empty() {
        return Ok(Facts::default());
    }
    // The reader has forbidden sequential scans in this transaction; a plan that needs one all the same then looks so
    // costly that PostgreSQL compiles it, which takes longer than the lookup.
    tx.batch_execute("SET LOCAL jit = off")
        .await
        .map_err(|source| LookupError::Query {
            what: "anything",
            source,
        })?;
    let mut facts = Facts::default();
    if !needs.registers.is_empty() {
        facts.registers = before_batch(tx, prefix, "openregister_registers", &needs.registers).await?;
    }
    if !needs.schemas.is_empty() {
        facts.schemas = before_batch(tx, prefix, "openregister_schemas", &needs.schemas).await?;
    }
    if !needs.users.is_empty() {
        facts.users = users(tx, prefix, &needs.users).await?;
    }
    if !needs.local_times.is_empty() {
        let found = local_time::to_utc(tx, &needs.local_times).await;
        facts.utc = found.map_err(|source| LookupError::Query {
            what: "the time zone",
            source,
        })?;
    }
    if !needs.requests.is_empty() {
        requests(tx, prefix, needs, &mut facts).await?;
    }
    for need in &needs.locks {
        let found = LockFacts {
            events: lock_events(tx, need).await?,
            image: lock_image(tx, prefix, need).await?,
        };
        facts.locks.insert(need.clone(), found);
    }
    if !(needs.homes.is_empty()
        && needs.in_blob.is_empty()
        && needs.rows_exist.is_empty()
        && needs.rows.is_empty())
    {
        let tables = object_tables(tx, prefix).await?;
        stores(tx, prefix, needs, &tables, last, &mut facts).await?;
        homes(tx, prefix, needs, &tables, &mut facts).await?;
    }
    Ok(facts)
}

async fn query(
    tx: &impl GenericClient,
    what: &'static str,
    sql: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<tokio_postgres::Row>, LookupError> {
    tx.query_typed(sql, parameters)
        .await
        .map_err(|source| LookupError::Query { what, source })
}

/// A name between double quotes.
fn quoted(prefix: &str, name: &str) -> String {
    format!("\"{}\"", format!("{prefix}{name}").replace('"', "\"\""))
}

/// A row image that the database gave; one that cannot be read counts as missing.
fn image(text: Option<&str>) -> Option<Row> {
    text.and_then(|text| parse_row(text).ok())
}

/// Registers or schemas as they were before this batch: the reader may be far behind, and what it has yet to read of
/// them is undone. One statement, so that row and outbox are of one snapshot.
async fn before_batch(
    tx: &impl GenericClient,
    prefix: &str,
    table: &str,
    wanted: &BTreeSet<i64>,
) -> Result<HashMap<i64, Row>, LookupError> {
    let ids: Vec<i64> = wanted.iter().copied().collect();
    let sql = format!(
        "WITH position AS MATERIALIZED (
             SELECT snapshot::pg_snapshot AS read, \"window\"::pg_snapshot AS reading, lsn, xid, ordinal
               FROM (SELECT * FROM openregister_webhooks.position_0
                     UNION ALL SELECT * FROM openregister_webhooks.position_1) p ORDER BY n DESC LIMIT 1),
         unread AS (
             SELECT c.lsn, c.xid, c.ordinal, c.old, c.new
               FROM openregister_webhooks.change c LEFT JOIN position p ON true
              WHERE c.tbl = $1 AND coalesce(NOT pg_visible_in_snapshot(c.xid, p.read), true)
                AND NOT coalesce(pg_visible_in_snapshot(c.xid, p.reading)
                                 AND (c.lsn, c.xid, c.ordinal) <= (p.lsn, p.xid, p.ordinal), false)
              ORDER BY c.lsn, c.xid, c.ordinal LIMIT {UNREAD})
         SELECT NULL::int8 AS id, old, new FROM unread
         UNION ALL SELECT \"orw row\".id::int8, row_to_json(\"orw row\")::text, NULL FROM {} AS \"orw row\" WHERE \"orw row\".id = ANY($2)",
        quoted(prefix, table)
    );
    let rows = query(
        tx,
        "registers and schemas",
        &sql,
        &[
            (&format!("{prefix}{table}"), Type::TEXT),
            (&ids, Type::INT8_ARRAY),
        ],
    )
    .await?;
    let mut found: HashMap<i64, Option<Row>> = HashMap::new();
    // The outbox comes first, in its order: the first change of a row tells what the row was before.
    let (unread, now): (Vec<_>, Vec<_>) = rows
        .iter()
        .partition(|row| row.get::<_, Option<i64>>(0).is_none());
    for row in unread {
        let (old, new) = (image(row.get(1)), image(row.get(2)));
        let id = old
            .as_ref()
            .or(new.as_ref())
            .and_then(|row| row.get("id")?.as_i64());
        if let Some(id) = id.filter(|id| wanted.contains(id)) {
            found.entry(id).or_insert(old);
        }
    }
    for row in now {
        if let Some(id) = row.get(0) {
            found.entry(id).or_insert_with(|| image(row.get(1)));
        }
    }
    Ok(found
        .into_iter()
        .filter_map(|(id, row)| Some((id, row?)))
        .collect())
}

/// Display names and groups.
pub(crate) async fn users(
    tx: &impl GenericClient,
    prefix: &str,
    wanted: &BTreeSet<String>,
) -> Result<HashMap<String, User>, LookupError> {
    let uids: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let sql = format!(
        "SELECT w.uid, u.displayname, a.data,
                ARRAY(SELECT g.gid::text FROM {} g WHERE g.uid = w.uid ORDER BY 1)
           FROM unnest($1::text[]) w (uid)
           LEFT JOIN {} u ON u.uid = w.uid
           LEFT JOIN {} a ON a.uid = w.uid",
        quoted(prefix, "group_user"),
        quoted(prefix, "users"),
        quoted(prefix, "accounts"),
    );
    let rows = query(tx, "users", &sql, &[(&uids, Type::TEXT_ARRAY)]).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let account: Option<&str> = row.get(2);
            let display_name = row
                .get::<_, Option<&str>>(1)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .or_else(|| account_name(account?));
            let user = User {
                display_name,
                groups: row.get(3),
            };
            (row.get(0), user)
        })
        .collect())
}

/// The display name among a user's account data.
fn account_name(data: &str) -> Option<String> {
    let data = crate::json::parse(data).ok()?;
    let name = data.get("displayname")?.get("value")?.as_str()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// Which `unlock` rows follow an `update` of the same request. The rows of one request are close together, so a range
/// of the primary key is enough and needs no index of its own.
async fn requests(
    tx: &impl GenericClient,
    prefix: &str,
    needs: &Needs,
    facts: &mut Facts,
) -> Result<(), LookupError> {
    let audits: Vec<i64> = needs.requests.iter().map(|need| need.audit).collect();
    let uuids: Vec<&str> = needs.requests.iter().map(|need| need.uuid.as_str()).collect();
    let requests: Vec<&str> = needs.requests.iter().map(|need| need.request.as_str()).collect();
    let sql = format!(
        "SELECT q.audit FROM unnest($1::int8[], $2::text[], $3::text[]) q (audit, uuid, request)
          WHERE EXISTS (SELECT FROM {} a
                         WHERE a.id > q.audit - {AUDIT_WINDOW} AND a.id < q.audit AND a.action = 'update'
                           AND a.object_uuid = q.uuid AND a.request = q.request)",
        quoted(prefix, "openregister_audit_trails")
    );
    let rows = query(
        tx,
        "audit trails",
        &sql,
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

async fn lock_events(tx: &impl GenericClient, need: &LockNeed) -> Result<Vec<Action>, LookupError> {
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
async fn lock_image(
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

/// The tables that hold objects, or views, and that can be read, without prefix.
async fn object_tables(tx: &impl GenericClient, prefix: &str) -> Result<Vec<String>, LookupError> {
    let rows = query(
        tx,
        "tables",
        "SELECT relname::text FROM pg_catalog.pg_class
          WHERE relkind IN ('r', 'p') AND starts_with(relname::text, $1)
            AND pg_catalog.pg_table_is_visible(oid) AND pg_catalog.has_table_privilege(oid, 'SELECT')",
        &[(&format!("{prefix}openregister_"), Type::TEXT)],
    )
    .await?;
    Ok(rows
        .iter()
        .filter_map(|row| TableName::parse(row.get(0), prefix))
        .filter(|table| !matches!(table.store(), Store::Audit))
        .map(|table| table.name().to_owned())
        .collect())
}

/// The questions that name their table.
async fn stores(
    tx: &impl GenericClient,
    prefix: &str,
    needs: &Needs,
    tables: &[String],
    last: Option<ChangeKey>,
    facts: &mut Facts,
) -> Result<(), LookupError> {
    let there = |name: &str| tables.iter().any(|table| table == name);
    if !needs.in_blob.is_empty() && there(BLOB) {
        facts.in_blob = in_blob(tx, prefix, needs, last).await?;
    }
    let mut by_table: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (table, uuid) in needs.rows_exist.iter().chain(&needs.rows) {
        if there(table) {
            by_table.entry(table).or_default().push(uuid);
        }
    }
    for (table, uuids) in by_table {
        let column = uuid_column(table);
        let sql = format!(
            "SELECT \"orw row\".{column}::text, row_to_json(\"orw row\")::text FROM {} AS \"orw row\" WHERE \"orw row\".{column} = ANY($1)",
            quoted(prefix, table)
        );
        for row in query(tx, "objects", &sql, &[(&uuids, Type::TEXT_ARRAY)]).await? {
            let key = (table.to_owned(), row.get::<_, String>(0));
            if needs.rows_exist.contains(&key) {
                facts.rows_exist.insert(key.clone());
            }
            if let Some(found) = image(row.get(1)).filter(|_| needs.rows.contains(&key)) {
                facts.rows.insert(key, found);
            }
        }
    }
    Ok(())
}

/// Which of the inserted objects the blob table holds, or held until a DELETE that is yet to be read: the migration
/// deletes a row right after it has copied it. One statement, so that table and outbox are of one snapshot.
async fn in_blob(
    tx: &impl GenericClient,
    prefix: &str,
    needs: &Needs,
    last: Option<ChangeKey>,
) -> Result<HashSet<String>, LookupError> {
    let uuids: Vec<&str> = needs.in_blob.iter().map(String::as_str).collect();
    let last = last.unwrap_or(ChangeKey {
        lsn: Lsn(0),
        xid: Xid(0),
        ordinal: 0,
    });
    let sql = format!(
        "SELECT uuid::text, NULL AS old FROM {} WHERE uuid = ANY($1)
         UNION ALL
         SELECT NULL, old FROM (SELECT tbl, op, old FROM openregister_webhooks.change
                                 WHERE (lsn, xid, ordinal) > ($2, $3::text::xid8, $4) AND lsn >= $2
                                 ORDER BY lsn, xid, ordinal LIMIT {LOOK_AHEAD}) c
          WHERE tbl = $5 AND op = 'D'",
        quoted(prefix, BLOB)
    );
    let rows = query(
        tx,
        "objects",
        &sql,
        &[
            (&uuids, Type::TEXT_ARRAY),
            (&PgLsn::from(last.lsn.0), Type::PG_LSN),
            (&last.xid.0.to_string(), Type::TEXT),
            (&last.ordinal, Type::INT4),
            (&format!("{prefix}{BLOB}"), Type::TEXT),
        ],
    )
    .await?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            row.get::<_, Option<String>>(0)
                .or_else(|| Some(image(row.get(1))?.get("uuid")?.as_str()?.to_owned()))
        })
        .collect())
}

fn uuid_column(table: &str) -> &'static str {
    if table.starts_with("openregister_table_") {
        "_uuid"
    } else {
        "uuid"
    }
}

/// Whether objects inserted into one magic table have a row in another.
async fn homes(
    tx: &impl GenericClient,
    prefix: &str,
    needs: &Needs,
    tables: &[String],
    facts: &mut Facts,
) -> Result<(), LookupError> {
    let magic: Vec<&String> = tables
        .iter()
        .filter(|table| table.starts_with("openregister_table_"))
        .collect();
    let uuids: Vec<&str> = needs.homes.keys().map(String::as_str).collect();
    if uuids.is_empty() || magic.len() < 2 {
        return Ok(());
    }
    for chunk in magic.chunks(TABLES_PER_QUERY) {
        let sql = chunk
            .iter()
            .map(|table| {
                format!(
                    "SELECT '{table}', \"orw row\"._uuid::text, row_to_json(\"orw row\")::text FROM {} AS \"orw row\" WHERE \"orw row\"._uuid = ANY($1)",
                    quoted(prefix, table)
                )
            })
            .collect::<Vec<_>>()
            .join(" UNION ALL ");
        for row in query(tx, "objects", &sql, &[(&uuids, Type::TEXT_ARRAY)]).await? {
            let (table, uuid): (String, String) = (row.get(0), row.get(1));
            if needs.homes.get(&uuid) != Some(&table)
                && let Some(found) = image(row.get(2))
            {
                facts.homes.insert(uuid, (table, found));
            }
        }
    }
    if facts.homes.is_empty() {
        return Ok(());
    }
    homes_since(tx, prefix, facts).await
}

/// When the rows that were found were inserted. Asked for objects that are in two tables only, which are few.
async fn homes_since(tx: &impl GenericClient, prefix: &str, facts: &mut Facts) -> Result<(), LookupError> {
    let tables: Vec<String> = facts
        .homes
        .values()
        .map(|(table, _)| format!("{prefix}{table}"))
        .collect();
    let uuids: Vec<&str> = facts.homes.keys().map(String::as_str).collect();
    let rows = query(
        tx,
        "the outbox",
        "SELECT tbl, new, lsn, xid::text, ordinal FROM openregister_webhooks.change
          WHERE tbl = ANY($1) AND op = 'I' AND EXISTS (SELECT FROM unnest($2::text[]) u WHERE position(u IN new) > 0)
          ORDER BY lsn, xid, ordinal",
        &[(&tables, Type::TEXT_ARRAY), (&uuids, Type::TEXT_ARRAY)],
    )
    .await?;
    let mut since = HashMap::new();
    for row in rows {
        let table = TableName::parse(row.get(0), prefix);
        let (Some(table), Some(found)) = (table, image(row.get(1))) else {
            continue;
        };
        let Some(uuid) = ObjectRow::new(&table, &found).uuid() else {
            continue;
        };
        if facts
            .homes
            .get(uuid)
            .is_some_and(|(home, _)| home == table.name())
        {
            let key = ChangeKey {
                lsn: Lsn(row.get::<_, PgLsn>(2).into()),
                xid: Xid(row.get::<_, &str>(3).parse().unwrap_or_default()),
                ordinal: row.get(4),
            };
            since.insert(uuid.to_owned(), key);
        }
    }
    facts.homes_since = since;
    Ok(())
}
