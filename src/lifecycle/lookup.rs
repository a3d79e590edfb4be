//! The classifier with its lookups: in the outbox and the stored events within the batch's transaction, in Nextcloud's tables
//! on a connection of their own ([`Host`]), so that no batch holds a lock that an upgrade of Nextcloud would wait for.
//!
//! What is not there (a table, a column) is as if it held nothing. Where it cannot be looked up now, the batch is tried
//! again, since a filter would be evaluated wrongly without; but whether an inserted object has a row in another magic
//! table (it was migrated) is looked up with as much effort as is reasonable: where that fails, it counts as created.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio_postgres::GenericClient;
use tokio_postgres::types::{PgLsn, Type};

use super::core::{Core, Decoded};
use super::facts::{Facts, LockFacts, LockNeed, Needs, User};
use super::host::{Host, HostError, Parameter};
use super::local_time;
use super::outcome::Outcome;
use super::settings::LifecycleSettings;
use crate::capture::{Change, ChangeKey, Fault, Lsn, Xid};
use crate::openregister::{Action, EventClass, ObjectRow, Row, Store, TableName, parse_row};

/// Why a batch could not be worked on; nothing of it may be committed.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    #[error("cannot look up {what}: {source}")]
    Query {
        what: &'static str,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error(
        "cannot look up {what} in Nextcloud's tables: {source}; does the sidecar's role have SELECT on them? `doctor` says"
    )]
    Host {
        what: &'static str,
        #[source]
        source: HostError,
    },
}

impl LookupError {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Query { source, .. }
            | Self::Host {
                source: HostError::Query(source),
                ..
            } => Fault::of(source),
            Self::Host { .. } => Fault::Elsewhere,
        }
    }
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

/// How many magic tables one statement searches for an object's other row. Each takes some five places among the locks of
/// the whole server, and what fails for one of them fails for all.
const TABLES_PER_QUERY: usize = 20;
/// The least time between two complaints that this search fails.
const COMPLAINTS: Duration = Duration::from_secs(60);

/// Turns changes into events, looking up what they need.
#[derive(Debug)]
pub struct Lifecycle {
    prefix: String,
    core: Core,
    host: Host,
    /// When it was last logged that a search of all magic tables failed.
    complained: Option<Instant>,
    /// A batch was worked on and [`Self::committed`] was not called since: memory may be ahead of the database.
    uncommitted: bool,
}

impl Lifecycle {
    #[must_use]
    pub fn new(settings: LifecycleSettings, host: Host) -> Self {
        Self {
            prefix: settings.table_prefix.clone(),
            core: Core::new(settings),
            host,
            complained: None,
            uncommitted: false,
        }
    }

    /// Works on the next changes. `changes` come in the order of the stream; the events are in the same order.
    /// Call [`Self::committed`] when the transaction has committed: where it has not, everything is forgotten, so that
    /// the same changes give the same events again.
    ///
    /// # Errors
    /// Where a lookup fails.
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
        let (facts, failure) = look_up(tx, &mut self.host, &self.prefix, &needs, last).await?;
        if let Some(error) = failure
            && self.complained.is_none_or(|at| at.elapsed() > COMPLAINTS)
        {
            self.complained = Some(Instant::now());
            tracing::warn!(error = %crate::text::chain(&error), "not every table could be searched for objects that were migrated: such an object now counts as created");
        }
        let mut outcome = self.core.classify(decoded, needs, &facts);
        outcome.undecodable = undecodable;
        Ok(outcome)
    }

    /// The transaction of the last batch has committed.
    pub fn committed(&mut self) {
        self.uncommitted = false;
    }

    /// Forgets what it knows of earlier batches, as a restart does.
    pub fn forget(&mut self) {
        self.core.forget();
    }
}

/// Looks up what a batch needs: a handful of statements, whatever its size, and none where nothing is needed. Also says
/// why not every table could be searched for objects that were migrated, where that is so.
pub(super) async fn look_up(
    tx: &impl GenericClient,
    host: &mut Host,
    prefix: &str,
    needs: &Needs,
    last: Option<ChangeKey>,
) -> Result<(Facts, Option<HostError>), LookupError> {
    let mut facts = Facts::default();
    if needs.is_empty() {
        return Ok((facts, None));
    }
    if !needs.registers.is_empty() {
        facts.registers = before_batch(host, prefix, "openregister_registers", &needs.registers).await?;
    }
    if !needs.schemas.is_empty() {
        facts.schemas = before_batch(host, prefix, "openregister_schemas", &needs.schemas).await?;
    }
    if !needs.users.is_empty() {
        facts.users = users(host, prefix, &needs.users).await?;
    }
    if !needs.local_times.is_empty() {
        let found = local_time::to_utc(tx, &needs.local_times).await;
        facts.utc = found.map_err(|source| LookupError::Query {
            what: "the time zone",
            source,
        })?;
    }
    if !needs.requests.is_empty() {
        requests(host, prefix, needs, &mut facts).await?;
    }
    for need in &needs.locks {
        let found = LockFacts {
            events: lock_events(tx, need).await?,
            image: lock_image(tx, prefix, need).await?,
        };
        facts.locks.insert(need.clone(), found);
    }
    if needs.homes.is_empty()
        && needs.in_blob.is_empty()
        && needs.rows_exist.is_empty()
        && needs.rows.is_empty()
    {
        return Ok((facts, None));
    }
    let tables = object_tables(host, prefix).await?;
    stores(host, prefix, needs, &tables, last, &mut facts).await?;
    let failure = homes(host, prefix, needs, &tables, &mut facts).await;
    if !facts.homes.is_empty() {
        homes_since(tx, prefix, &mut facts).await?;
    }
    Ok((facts, failure))
}

/// Asks Nextcloud's tables. What is not there holds nothing.
async fn ask(
    host: &mut Host,
    what: &'static str,
    statements: &[&str],
    parameters: &[Parameter<'_>],
) -> Result<Vec<tokio_postgres::Row>, LookupError> {
    match host.query(statements, parameters).await {
        Err(error) if error.is_gone() => {
            tracing::warn!(what, error = %crate::text::chain(&error), "what is to be looked up is not there");
            Ok(Vec::new())
        }
        done => done.map_err(|source| LookupError::Host { what, source }),
    }
}

/// A table of Nextcloud's as SQL wants it.
async fn table(host: &mut Host, prefix: &str, name: &str) -> Result<String, LookupError> {
    host.table(&format!("{prefix}{name}"))
        .await
        .map_err(|source| LookupError::Host {
            what: "anything",
            source,
        })
}

async fn query(
    tx: &impl GenericClient,
    what: &'static str,
    sql: &str,
    parameters: &[Parameter<'_>],
) -> Result<Vec<tokio_postgres::Row>, LookupError> {
    tx.query_typed(sql, parameters)
        .await
        .map_err(|source| LookupError::Query { what, source })
}

/// A row image that the database gave; one that cannot be read counts as missing.
fn image(text: Option<&str>) -> Option<Row> {
    text.and_then(|text| parse_row(text).ok())
}

/// Registers or schemas as they were before this batch: the reader may be far behind, and what it has yet to read of
/// them is undone. Row and outbox are of one snapshot; the row comes last, so that its table is locked for an instant only.
async fn before_batch(
    host: &mut Host,
    prefix: &str,
    name: &str,
    wanted: &BTreeSet<i64>,
) -> Result<HashMap<i64, Row>, LookupError> {
    let ids: Vec<i64> = wanted.iter().copied().collect();
    let unread = format!(
        "WITH position AS MATERIALIZED (
             SELECT snapshot::pg_snapshot AS read, \"window\"::pg_snapshot AS reading, lsn, xid, ordinal
               FROM (SELECT * FROM openregister_webhooks.position_0
                     UNION ALL SELECT * FROM openregister_webhooks.position_1) p ORDER BY n DESC LIMIT 1)
         SELECT NULL::int8 AS id, c.old, c.new
           FROM openregister_webhooks.change c LEFT JOIN position p ON true
          WHERE c.tbl = $1 AND coalesce(NOT pg_visible_in_snapshot(c.xid, p.read), true)
            AND NOT coalesce(pg_visible_in_snapshot(c.xid, p.reading)
                             AND (c.lsn, c.xid, c.ordinal) <= (p.lsn, p.xid, p.ordinal), false)
          ORDER BY c.lsn, c.xid, c.ordinal LIMIT {UNREAD}"
    );
    let now = format!(
        "SELECT \"orw row\".id::int8, row_to_json(\"orw row\")::text, NULL::text FROM {} AS \"orw row\" WHERE \"orw row\".id = ANY($2)",
        table(host, prefix, name).await?
    );
    let rows = ask(
        host,
        "registers and schemas",
        &[&unread, &now],
        &[(&format!("{prefix}{name}"), Type::TEXT), (&ids, Type::INT8_ARRAY)],
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
    host: &mut Host,
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
        table(host, prefix, "group_user").await?,
        table(host, prefix, "users").await?,
        table(host, prefix, "accounts").await?,
    );
    let rows = ask(host, "users", &[&sql], &[(&uids, Type::TEXT_ARRAY)]).await?;
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
    host: &mut Host,
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
        table(host, prefix, "openregister_audit_trails").await?
    );
    let rows = ask(
        host,
        "audit trails",
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

/// The tables that hold objects, or views, and that can be read, without prefix; the oldest first.
async fn object_tables(host: &mut Host, prefix: &str) -> Result<Vec<String>, LookupError> {
    let first = format!("{prefix}openregister_");
    // What begins with that, and nothing else, lies between it and this: '`' follows '_'.
    let end = format!("{prefix}openregister`");
    let schema = host.schema().await.map_err(|source| LookupError::Host {
        what: "tables",
        source,
    })?;
    let rows = ask(
        host,
        "tables",
        &["SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = $3::text::name AND c.relkind IN ('r', 'p') AND c.relname >= $1::text::name AND c.relname < $2::text::name
              AND has_table_privilege(c.oid, 'SELECT') ORDER BY c.oid"],
        &[(&first, Type::TEXT), (&end, Type::TEXT), (&schema, Type::TEXT)],
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
    host: &mut Host,
    prefix: &str,
    needs: &Needs,
    tables: &[String],
    last: Option<ChangeKey>,
    facts: &mut Facts,
) -> Result<(), LookupError> {
    let there = |name: &str| tables.iter().any(|table| table == name);
    if !needs.in_blob.is_empty() && there(BLOB) {
        facts.in_blob = in_blob(host, prefix, needs, last).await?;
    }
    let mut by_table: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (table, uuid) in needs.rows_exist.iter().chain(&needs.rows) {
        if there(table) {
            by_table.entry(table).or_default().push(uuid);
        }
    }
    for (name, uuids) in by_table {
        let column = uuid_column(name);
        let sql = format!(
            "SELECT \"orw row\".{column}::text, row_to_json(\"orw row\")::text FROM {} AS \"orw row\" WHERE \"orw row\".{column} = ANY($1)",
            table(host, prefix, name).await?
        );
        for row in ask(host, "objects", &[&sql], &[(&uuids, Type::TEXT_ARRAY)]).await? {
            let key = (name.to_owned(), row.get::<_, String>(0));
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
/// deletes a row right after it has copied it. Table and outbox are of one snapshot.
async fn in_blob(
    host: &mut Host,
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
    let deleted = format!(
        "SELECT NULL::text, old FROM (SELECT tbl, op, old FROM openregister_webhooks.change
                                       WHERE (lsn, xid, ordinal) > ($2, $3::text::xid8, $4) AND lsn >= $2
                                       ORDER BY lsn, xid, ordinal LIMIT {LOOK_AHEAD}) c
          WHERE tbl = $5 AND op = 'D'"
    );
    let present = format!(
        "SELECT uuid::text, NULL::text FROM {} WHERE uuid = ANY($1)",
        table(host, prefix, BLOB).await?
    );
    let rows = ask(
        host,
        "objects",
        &[&deleted, &present],
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

/// Whether objects inserted into one magic table have a row in another. Fails for as few tables as it can: gives the first
/// failure, if there was one.
async fn homes(
    host: &mut Host,
    prefix: &str,
    needs: &Needs,
    tables: &[String],
    facts: &mut Facts,
) -> Option<HostError> {
    let magic: Vec<&String> = tables
        .iter()
        .filter(|table| table.starts_with("openregister_table_"))
        .collect();
    let uuids: Vec<&str> = needs.homes.keys().map(String::as_str).collect();
    if uuids.is_empty() || magic.len() < 2 {
        return None;
    }
    let mut statements = Vec::new();
    for chunk in magic.chunks(TABLES_PER_QUERY) {
        let mut parts = Vec::new();
        for name in chunk {
            // The name is letters and digits alone.
            match host.table(&format!("{prefix}{name}")).await {
                Ok(table) => parts.push(format!(
                    "SELECT '{name}'::text, \"orw row\"._uuid::text, row_to_json(\"orw row\")::text FROM {table} AS \"orw row\" WHERE \"orw row\"._uuid = ANY($1)"
                )),
                Err(error) => return Some(error),
            }
        }
        statements.push(parts.join(" UNION ALL "));
    }
    let (rows, failure) = match host.each(&statements, &uuids, &Type::TEXT_ARRAY).await {
        Ok(done) => done,
        Err(error) => return Some(error),
    };
    for row in rows {
        let (table, uuid): (String, String) = (row.get(0), row.get(1));
        if needs.homes.get(&uuid) != Some(&table)
            && let Some(found) = image(row.get(2))
        {
            facts.homes.insert(uuid, (table, found));
        }
    }
    // A table that was dropped since it was listed holds nothing.
    failure.filter(|error| !error.is_gone())
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
