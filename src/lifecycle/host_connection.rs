//! The connection for look-ups in Nextcloud's tables.
//!
//! Guarantees: a lock on a table of Nextcloud lasts no longer than one statement of at most [`LONGEST`], whatever the batch does that
//! needs the look-up; a statement waits at most [`LOCK_WAIT`] for a lock, because writers queue behind a waiting session; only
//! `pg_catalog` is searched for functions and operators, so that no role can substitute its own; only Nextcloud's own tables are read
//! ([`HostTables`]).

use std::collections::HashMap;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, GenericClient, Row, Statement, Transaction};

use crate::database::{Database, DatabaseError};

/// The longest time that a statement may take.
const LONGEST: &str = "2s";
/// The longest time that it waits for a lock.
const LOCK_WAIT: &str = "100ms";
/// After this time without an answer the connection counts as dead.
const DEAD: Duration = Duration::from_secs(10);
/// How many prepared statements are kept.
const PLANS: usize = 256;

/// A parameter and its type.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// Why something could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error(transparent)]
    Connect(#[from] DatabaseError),
    #[error(transparent)]
    Query(#[from] tokio_postgres::Error),
    #[error("the database did not answer within {} s", DEAD.as_secs())]
    Dead,
}

impl HostError {
    /// Whether the role lacks the right to read the table.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Query(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE))
    }

    /// Whether a table or column does not exist; a retry would not help.
    pub(crate) fn is_gone(&self) -> bool {
        let code = match self {
            Self::Query(error) => error.code(),
            Self::Connect(_) | Self::Dead => None,
        };
        matches!(code, Some(code) if [
            SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN, SqlState::INVALID_SCHEMA_NAME, SqlState::WRONG_OBJECT_TYPE,
        ].contains(code))
    }
}

/// Names tables of Nextcloud in SQL and remembers them. Before a statement is planned or run, the tables that it names are locked and
/// checked to be Nextcloud's own (`openregister_webhooks.hold`), so that until its transaction ends nobody can give their names to
/// something else. A table that is missing, or belongs to a stranger, counts as one that does not exist.
#[derive(Debug, Clone)]
pub(crate) struct HostTables {
    /// The schema that they are in, quoted.
    schema: String,
    named: Vec<String>,
}

/// Locks the tables and checks that they are Nextcloud's own.
const HOLD: &str = "SELECT openregister_webhooks.hold($1)";

impl HostTables {
    /// Where the tables are.
    pub(crate) async fn new(client: &impl GenericClient) -> Result<Self, tokio_postgres::Error> {
        let rows = client
            .query_typed(
                "SELECT pg_catalog.quote_ident(host_schema) FROM openregister_webhooks.settings",
                &[],
            )
            .await?;
        Ok(Self::of(
            rows.first().map_or_else(|| "public".to_owned(), |row| row.get(0)),
        ))
    }

    const fn of(schema: String) -> Self {
        Self {
            schema,
            named: Vec::new(),
        }
    }

    /// SQL that names a table, given by its full name: only its own rows, not those of tables that inherit from it.
    pub(crate) fn name(&mut self, table: &str) -> String {
        self.named.push(table.to_owned());
        format!("ONLY {}.\"{}\"", self.schema, table.replace('"', "\"\""))
    }

    /// Locks and checks the tables until the end of the transaction. In it row security must be off, so that a statement fails if a
    /// policy would apply.
    async fn hold_only(&self, client: &Client) -> Result<(), tokio_postgres::Error> {
        if !self.named.is_empty() {
            client
                .query_typed(HOLD, &[(&self.named, Type::TEXT_ARRAY)])
                .await?;
        }
        Ok(())
    }

    /// The same in a given transaction, for its later statements.
    pub(crate) async fn hold(&self, tx: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
        tx.batch_execute("SET LOCAL row_security = off").await?;
        self.hold_only(tx.client()).await
    }
}

/// The connection, opened when it is first needed.
#[derive(Debug)]
pub struct HostConnection {
    database: Database,
    /// Whether the session is ours alone, so that it keeps prepared statements.
    direct: bool,
    session: Option<Session>,
}

#[derive(Debug)]
struct Session {
    client: Client,
    tables: HostTables,
    plans: HashMap<String, Statement>,
}

impl HostConnection {
    /// `pooled`: connections go through a transaction pooler.
    #[must_use]
    pub const fn new(database: Database, pooled: bool) -> Self {
        Self {
            database,
            direct: !pooled,
            session: None,
        }
    }

    async fn session(&mut self) -> Result<&mut Session, HostError> {
        let kept = self.session.take().filter(|s| !s.client.is_closed());
        let session = match kept {
            Some(session) => session,
            None => timeout(DEAD, self.connect())
                .await
                .map_err(|_| HostError::Dead)??,
        };
        Ok(self.session.insert(session))
    }

    async fn connect(&self) -> Result<Session, HostError> {
        let (client, _) = self.database.connect().await?;
        if self.direct {
            // One plan for each statement, however many uuids it gets: planning again costs far more than it saves.
            client
                .batch_execute(
                    "SET plan_cache_mode = force_generic_plan; SET idle_in_transaction_session_timeout = '10s'; \
                     SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 2",
                )
                .await?;
        }
        let tables = HostTables::new(&client).await?;
        Ok(Session {
            client,
            tables,
            plans: HashMap::new(),
        })
    }

    /// Prepares to name tables in a statement.
    pub(crate) async fn tables(&mut self) -> Result<HostTables, HostError> {
        Ok(self.session().await?.tables.clone())
    }

    /// Runs statements one after another, each with these parameters, in one snapshot and one round trip. The locks are released at its
    /// end.
    pub(crate) async fn query(
        &mut self,
        tables: &HostTables,
        statements: &[&str],
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, HostError> {
        let session = self.session().await?;
        let client = &session.client;
        let begin = begin("REPEATABLE READ");
        let work = async {
            let queries = statements.iter().map(|sql| client.query_typed(sql, parameters));
            let (begun, held, rows, ended) = futures::join!(
                client.batch_execute(&begin),
                tables.hold_only(client),
                join_all(queries),
                client.batch_execute("COMMIT")
            );
            begun?;
            held?;
            let rows: Result<Vec<_>, _> = rows.into_iter().collect();
            // The first failure is the cause; the later ones only say that the transaction is aborted.
            let rows = rows?;
            ended?;
            Ok(rows.into_iter().flatten().collect())
        };
        let done = timeout(DEAD, work).await;
        self.drop_if_dead(done)
    }

    /// Runs many statements with the same parameter, each in its own transaction: the locks of one are released before the next takes
    /// its own. One round trip if their plans are known. Returns the rows of those that succeeded, and the first failure.
    pub(super) async fn each(
        &mut self,
        statements: &[(HostTables, String)],
        parameter: &(dyn ToSql + Sync),
        kind: &Type,
    ) -> Result<(Vec<Row>, Option<HostError>), HostError> {
        let direct = self.direct;
        let session = self.session().await?;
        let work = async {
            if direct {
                session.plan(statements, kind).await?;
            }
            let client = &session.client;
            let queries = statements
                .iter()
                .map(|(tables, sql)| run_one(client, tables, session.plans.get(sql), sql, parameter, kind));
            let mut found = Vec::new();
            let mut failure = None;
            for (done, (_, sql)) in join_all(queries).await.into_iter().zip(statements) {
                match done {
                    Ok(rows) => found.extend(rows),
                    Err(error) => {
                        session.plans.remove(sql);
                        failure.get_or_insert(HostError::from(error));
                    }
                }
            }
            Ok((found, failure))
        };
        let done = timeout(DEAD, work).await;
        self.drop_if_dead(done)
    }

    /// Drops a connection that did not answer in time.
    fn drop_if_dead<T>(
        &mut self,
        done: Result<Result<T, HostError>, tokio::time::error::Elapsed>,
    ) -> Result<T, HostError> {
        done.unwrap_or_else(|_| {
            self.session = None;
            Err(HostError::Dead)
        })
    }
}

impl Session {
    /// Prepares the statements that have no plan yet. Planning takes locks, too, so each is planned in its own transaction. A statement
    /// that cannot be planned fails when it is run.
    async fn plan(
        &mut self,
        statements: &[(HostTables, String)],
        kind: &Type,
    ) -> Result<(), tokio_postgres::Error> {
        if self.plans.len() > PLANS {
            self.plans.clear();
        }
        let begin = begin("READ COMMITTED");
        for (tables, sql) in statements {
            if self.plans.contains_key(sql) {
                continue;
            }
            let (begun, held, plan, ended) = futures::join!(
                self.client.batch_execute(&begin),
                tables.hold_only(&self.client),
                self.client.prepare_typed(sql, std::slice::from_ref(kind)),
                self.client.batch_execute("COMMIT")
            );
            begun.and(ended)?;
            if let (Ok(()), Ok(plan)) = (held, plan) {
                self.plans.insert(sql.clone(), plan);
            }
        }
        Ok(())
    }
}

/// Runs one statement in its own transaction, in one round trip.
async fn run_one(
    client: &Client,
    tables: &HostTables,
    plan: Option<&Statement>,
    sql: &str,
    parameter: &(dyn ToSql + Sync),
    kind: &Type,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let begin = begin("READ COMMITTED");
    let (begun, held, rows, ended) = if let Some(plan) = plan {
        let parameters = [parameter];
        futures::join!(
            client.batch_execute(&begin),
            tables.hold_only(client),
            client.query(plan, &parameters),
            client.batch_execute("COMMIT")
        )
    } else {
        let parameters = [(parameter, kind.clone())];
        futures::join!(
            client.batch_execute(&begin),
            tables.hold_only(client),
            client.query_typed(sql, &parameters),
            client.batch_execute("COMMIT")
        )
    };
    begun?;
    held?;
    let rows = rows?;
    ended?;
    Ok(rows)
}

/// SQL that begins a transaction with our limits. They are set for the transaction only, because behind a pooler somebody else uses the
/// session next. Neither the outbox nor most of Nextcloud's tables have reliable statistics, and an index is always the right choice. A
/// plan that needs a scan nevertheless looks so expensive that PostgreSQL would compile it, so `jit` is off.
fn begin(isolation: &str) -> String {
    format!(
        "BEGIN ISOLATION LEVEL {isolation} READ ONLY; SET LOCAL statement_timeout = '{LONGEST}'; SET LOCAL lock_timeout = '{LOCK_WAIT}'; \
         SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL row_security = off; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; \
         SET LOCAL enable_hashagg = off; SET LOCAL jit = off"
    )
}
