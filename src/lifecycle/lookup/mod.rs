//! The classifier with its lookups: in the outbox and the stored events within the batch's transaction, in Nextcloud's tables
//! on a connection of their own ([`HostConnection`]), so that no batch holds a lock that an upgrade of Nextcloud would wait for.
//!
//! What is not there (a table, a column) is as if it held nothing. Where it cannot be looked up now, the batch is tried
//! again, since a filter would be evaluated wrongly without; but whether an inserted object has a row in another magic
//! table (it was migrated) is looked up with as much effort as is reasonable: where that fails, it counts as created.

mod requests;
mod stores;

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use super::classify::{Classifier, Decoded};
use super::facts::{Facts, LockAnswer, Needs, User};
use super::host_connection::{HostConnection, HostError, HostTables, Parameter};
use super::local_time;
use super::locks;
use super::outcome::Outcome;
use super::settings::LifecycleSettings;
use crate::capture::{Change, ChangeKey, Fault};
use orw_model::{Row, parse_row};
use requests::{lock_events, lock_image};
use stores::{homes, homes_since, object_tables, stores};

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
    HostConnection {
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
            | Self::HostConnection {
                source: HostError::Query(source),
                ..
            } => Fault::of(source),
            Self::HostConnection { .. } => Fault::Elsewhere,
        }
    }
}

/// How many unread changes of registers (or schemas) are undone to know them as they were.
const UNREAD: u32 = 1000;
/// How many changes after a batch are searched for the DELETE that ends a migration out of the blob table, and how many
/// before an audit row for the UPDATE of its request.
const LOOK_AHEAD: u32 = 500;
// Rows are called "orw row" below and in `stores`: a column of a magic table has the name of a property, which may be any
// short alias, but never holds a space.
/// The least time between two complaints that this search fails.
const COMPLAINTS: Duration = Duration::from_secs(60);

/// Turns changes into events, looking up what they need.
#[derive(Debug)]
pub struct Lifecycle {
    prefix: String,
    classifier: Classifier,
    host: HostConnection,
    /// When it was last logged that a search of all magic tables failed.
    complained: Option<Instant>,
    /// A batch was worked on and [`Self::committed`] was not called since: memory may be ahead of the database.
    uncommitted: bool,
}

impl Lifecycle {
    #[must_use]
    pub fn new(settings: LifecycleSettings, host: HostConnection) -> Self {
        Self {
            prefix: settings.table_prefix.clone(),
            classifier: Classifier::new(settings),
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
            self.classifier.forget();
        }
        let mut decoded = Vec::with_capacity(changes.len());
        let mut undecodable = Vec::new();
        for change in changes {
            match Decoded::read(change) {
                Ok(change) => decoded.push(change),
                Err(reason) => undecodable.push(*reason),
            }
        }
        let needs = self.classifier.needs(&decoded);
        let last = decoded.last().map(|decoded| decoded.change.key);
        let (facts, failure) = look_up(tx, &mut self.host, &self.prefix, &needs, last).await?;
        if let Some(error) = failure
            && self.complained.is_none_or(|at| at.elapsed() > COMPLAINTS)
        {
            self.complained = Some(Instant::now());
            tracing::warn!(error = %crate::error_text::chain(&error), "not every table could be searched for objects that were migrated: such an object now counts as created");
        }
        let mut outcome = self.classifier.classify(decoded, needs, &facts);
        outcome.undecodable = undecodable;
        Ok(outcome)
    }

    /// The transaction of the last batch has committed.
    pub fn committed(&mut self) {
        self.uncommitted = false;
    }

    /// Forgets what it knows of earlier batches, as a restart does.
    pub fn forget(&mut self) {
        self.classifier.forget();
    }
}

/// Looks up what a batch needs: a handful of statements, whatever its size, and none where nothing is needed. Also says
/// why not every table could be searched for objects that were migrated, where that is so.
pub(super) async fn look_up(
    tx: &impl GenericClient,
    host: &mut HostConnection,
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
        facts.users = look_up_users(host, prefix, &needs.users).await?;
    }
    if !needs.local_times.is_empty() {
        let found = local_time::to_utc(tx, &needs.local_times).await;
        facts.utc = found.map_err(|source| LookupError::Query {
            what: "the time zone",
            source,
        })?;
    }
    if !needs.held.is_empty() {
        let found = locks::look_up(tx, &needs.held).await;
        facts.held = found.map_err(|source| LookupError::Query {
            what: "the locks that were announced",
            source,
        })?;
    }
    for need in &needs.locks {
        let found = LockAnswer {
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
    host: &mut HostConnection,
    what: &'static str,
    tables: &HostTables,
    statements: &[&str],
    parameters: &[Parameter<'_>],
) -> Result<Vec<tokio_postgres::Row>, LookupError> {
    match host.query(tables, statements, parameters).await {
        Err(error) if error.is_gone() => {
            tracing::warn!(what, error = %crate::error_text::chain(&error), "what is to be looked up is not there");
            Ok(Vec::new())
        }
        done => done.map_err(|source| LookupError::HostConnection { what, source }),
    }
}

/// Names tables of Nextcloud for a statement.
async fn tables_of(host: &mut HostConnection) -> Result<HostTables, LookupError> {
    host.tables().await.map_err(|source| LookupError::HostConnection {
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
    host: &mut HostConnection,
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
    let mut tables = tables_of(host).await?;
    let now = format!(
        "SELECT \"orw row\".id::int8, row_to_json(\"orw row\")::text, NULL::text FROM {} AS \"orw row\" WHERE \"orw row\".id = ANY($2)",
        tables.name(&format!("{prefix}{name}"))
    );
    let rows = ask(
        host,
        "registers and schemas",
        &tables,
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
pub(crate) async fn look_up_users(
    host: &mut HostConnection,
    prefix: &str,
    wanted: &BTreeSet<String>,
) -> Result<HashMap<String, User>, LookupError> {
    let uids: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let mut tables = tables_of(host).await?;
    let mut name = |name: &str| tables.name(&format!("{prefix}{name}"));
    let sql = format!(
        "SELECT w.uid, u.displayname, a.data,
                ARRAY(SELECT g.gid::text FROM {} g WHERE g.uid = w.uid ORDER BY 1)
           FROM unnest($1::text[]) w (uid)
           LEFT JOIN {} u ON u.uid = w.uid
           LEFT JOIN {} a ON a.uid = w.uid",
        name("group_user"),
        name("users"),
        name("accounts"),
    );
    let rows = ask(host, "users", &tables, &[&sql], &[(&uids, Type::TEXT_ARRAY)]).await?;
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
    let data = orw_model::json::parse(data).ok()?;
    let name = data.get("displayname")?.get("value")?.as_str()?;
    (!name.is_empty()).then(|| name.to_owned())
}
