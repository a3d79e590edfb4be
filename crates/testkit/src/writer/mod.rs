//! Writes rows the way OpenRegister does: the same statements, in the same order, in the same transactions.
//!
//! Guarantees: every statement commits by itself on one connection, as Nextcloud's do; a method is one HTTP request
//! (its rows share a request id); an object's row comes first, then its activity row, then its audit row; ids of the
//! other entities are learnt with `lastval()`, as Nextcloud learns them, so a writer notices when somebody
//! else touches a sequence in its session.

mod entities;
mod objects;
mod tables;

pub use entities::EntityRow;
pub use objects::{Object, Place};

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::Generation;

/// Columns and their values.
pub type Row = Map<String, Value>;

/// The organisation that the seed rows hold.
pub const ORGANISATION: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

/// Why a write did not work.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    #[error("OpenRegister's write to {table} failed: {source}")]
    Write {
        table: String,
        source: tokio_postgres::Error,
    },
    #[error("cannot connect as OpenRegister does: {0}")]
    Connect(#[source] tokio_postgres::Error),
    #[error("{table} has no row with {column} = {value}")]
    Missing {
        table: String,
        column: &'static str,
        value: String,
    },
    #[error("a row of {table} is not the JSON object that it should be: {source}")]
    Row {
        table: String,
        source: serde_json::Error,
    },
}

/// Tells the time of the next write.
type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// One PHP process of Nextcloud: one connection, one user logged in.
pub struct Writer {
    client: Client,
    generation: Generation,
    user: String,
    clock: Clock,
    /// With audit trails switched off only locks leave audit rows.
    audits: bool,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("generation", &self.generation)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Writer {
    /// Connects, as the role in `url`; the user is `admin`.
    ///
    /// # Errors
    /// [`WriterError::Connect`].
    pub async fn connect(url: &str, generation: Generation) -> Result<Self, WriterError> {
        let (client, connection) = tokio_postgres::connect(url, NoTls)
            .await
            .map_err(WriterError::Connect)?;
        tokio::spawn(connection);
        Ok(Self::new(client, generation))
    }

    /// Writes over a connection that exists.
    #[must_use]
    pub fn new(client: Client, generation: Generation) -> Self {
        Self {
            client,
            generation,
            user: "admin".to_owned(),
            clock: Arc::new(Utc::now),
            audits: true,
        }
    }

    /// The same, with another user logged in.
    #[must_use]
    pub fn acting_as(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    /// The same, with OpenRegister's audit trails switched off.
    #[must_use]
    pub const fn without_audit_trails(mut self) -> Self {
        self.audits = false;
        self
    }

    /// The same, with the time that `clock` tells instead of now.
    #[must_use]
    pub fn at(mut self, clock: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The connection, for statements of one's own and for transactions.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }

    /// The time as it is written into `timestamp` columns.
    fn timestamp(&self) -> String {
        self.now().format("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// The time as PHP's format `c` has it in JSON.
    fn iso(&self) -> String {
        iso(self.now())
    }

    /// `INSERT` of the columns that `row` has.
    async fn insert(&self, table: &str, row: &Row) -> Result<(), WriterError> {
        let columns = columns_of(row);
        let statement = format!(
            "INSERT INTO {table} ({columns}) SELECT {columns} FROM json_populate_record(NULL::{table}, $1::text::json)"
        );
        self.execute(table, &statement, &[&json_text(row)]).await?;
        Ok(())
    }

    /// `INSERT`, then the id as Nextcloud learns it.
    async fn insert_with_id(&self, table: &str, row: &Row) -> Result<i64, WriterError> {
        self.insert(table, row).await?;
        let last = self.client.query_one("SELECT lastval()", &[]).await;
        last.and_then(|row| row.try_get(0))
            .map_err(|source| failed(table, source))
    }

    /// `UPDATE` that sets every column that `row` has, in the one row where `column` is `value`.
    async fn update(
        &self,
        table: &str,
        column: &'static str,
        value: &str,
        row: &Row,
    ) -> Result<(), WriterError> {
        let columns = columns_of(row);
        let statement = format!(
            "UPDATE {table} SET ({columns}) = (SELECT {columns} FROM \
             json_populate_record(NULL::{table}, $1::text::json)) WHERE {column}::text = $2"
        );
        let count = self
            .execute(table, &statement, &[&json_text(row), &value])
            .await?;
        expect_row(count, table, column, value)
    }

    /// `DELETE` of the one row where `column` is `value`.
    async fn delete(&self, table: &str, column: &'static str, value: &str) -> Result<(), WriterError> {
        let statement = format!("DELETE FROM {table} WHERE {column}::text = $1");
        let count = self.execute(table, &statement, &[&value]).await?;
        expect_row(count, table, column, value)
    }

    /// The row as it is now.
    async fn select(&self, table: &str, column: &'static str, value: &str) -> Result<Row, WriterError> {
        let statement = format!("SELECT row_to_json(t)::text FROM {table} t WHERE {column}::text = $1");
        let found = self.client.query_opt(&statement, &[&value]).await;
        let Some(found) = found.map_err(|source| failed(table, source))? else {
            return Err(missing(table, column, value));
        };
        serde_json::from_str(found.get(0)).map_err(|source| WriterError::Row {
            table: table.to_owned(),
            source,
        })
    }

    async fn execute(
        &self,
        table: &str,
        statement: &str,
        values: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<u64, WriterError> {
        self.client
            .execute(statement, values)
            .await
            .map_err(|source| failed(table, source))
    }

    /// The audit row of one action of one request on an object.
    async fn audit(
        &self,
        request: &Request,
        object: &Object,
        action: &str,
        changed: Value,
    ) -> Result<(), WriterError> {
        if !self.audits && !matches!(action, "lock" | "unlock") {
            return Ok(());
        }
        let row = object_of(json!({
            "uuid": uuid(), "schema": object.place.schema, "object": object.id, "action": action,
            "changed": changed, "user": self.user, "user_name": self.user, "session": request.session,
            "request": request.id, "ip_address": "127.0.0.1", "created": self.timestamp(),
            "register": object.place.register, "object_uuid": object.uuid, "size": 1241,
            "expires": (self.now() + chrono::Days::new(30)).format("%Y-%m-%d %H:%M:%S").to_string(),
        }));
        self.insert_with_id("oc_openregister_audit_trails", &row).await?;
        Ok(())
    }

    /// The row of the activity app, which 0.2.13 feeds.
    async fn activity(&self, kind: &str, id: i64, action: &str) -> Result<(), WriterError> {
        if self.generation != Generation::V0_2_13 {
            return Ok(());
        }
        let row = object_of(json!({
            "timestamp": self.now().timestamp(), "priority": 30, "type": "openregister", "user": self.user,
            "affecteduser": self.user, "app": "openregister", "subject": format!("{kind}_{action}"),
            "subjectparams": "{}", "message": "", "messageparams": "[]", "file": "", "link": "",
            "object_type": kind, "object_id": id,
        }));
        self.insert("oc_activity", &row).await
    }
}

/// One HTTP request.
#[derive(Debug)]
struct Request {
    id: String,
    session: String,
}

impl Request {
    fn new() -> Self {
        let random = Uuid::now_v7().simple().to_string();
        Self {
            id: random.chars().rev().take(20).collect(),
            session: random.chars().rev().take(26).collect(),
        }
    }
}

fn uuid() -> String {
    Uuid::now_v7().to_string()
}

fn iso(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

/// `json!({…})` as a row.
fn object_of(value: Value) -> Row {
    match value {
        Value::Object(row) => row,
        other => Row::from_iter([("value".to_owned(), other)]),
    }
}

fn json_text(row: &Row) -> String {
    Value::Object(row.clone()).to_string()
}

fn columns_of(row: &Row) -> String {
    let quoted: Vec<String> = row.keys().map(|name| quote(name)).collect();
    quoted.join(", ")
}

fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

fn failed(table: &str, source: tokio_postgres::Error) -> WriterError {
    WriterError::Write {
        table: table.to_owned(),
        source,
    }
}

fn missing(table: &str, column: &'static str, value: &str) -> WriterError {
    WriterError::Missing {
        table: table.to_owned(),
        column,
        value: value.to_owned(),
    }
}

fn expect_row(count: u64, table: &str, column: &'static str, value: &str) -> Result<(), WriterError> {
    if count == 1 {
        Ok(())
    } else {
        Err(missing(table, column, value))
    }
}
