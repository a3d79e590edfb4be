//! A connection to Nextcloud's database, and the statements that Nextcloud's query builder makes.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio_postgres::{Client, NoTls};

use super::error::{WriterError, expect_row, failed, missing};
use super::rows::{Row, columns_of, iso, json_text};
use crate::Generation;

/// Returns the time of the next write.
type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// One PHP process of Nextcloud: one connection, one user logged in.
pub struct Writer {
    client: Client,
    pub(super) generation: Generation,
    pub(super) user: String,
    clock: Clock,
    /// Whether audit trails are on; if not, only locks leave audit rows.
    pub(super) audits: bool,
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
    /// Connects as the role in `url`; `admin` is logged in.
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

    /// Writes over this connection; `admin` is logged in.
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

    /// The same, with OpenRegister's audit trails turned off.
    #[must_use]
    pub const fn without_audit_trails(mut self) -> Self {
        self.audits = false;
        self
    }

    /// The same, with the time of `clock` instead of the current time.
    #[must_use]
    pub fn at(mut self, clock: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The connection, for other statements and for transactions.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }

    /// The time as `timestamp` columns hold it, in UTC.
    pub(super) fn timestamp(&self) -> String {
        self.now().format("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// The time in PHP's format `c`, as JSON columns hold it.
    pub(super) fn iso(&self) -> String {
        iso(self.now())
    }

    /// `INSERT`s the columns of `row`.
    pub(super) async fn insert(&self, table: &str, row: &Row) -> Result<(), WriterError> {
        let columns = columns_of(row);
        let statement = format!(
            "INSERT INTO {table} ({columns}) SELECT {columns} FROM json_populate_record(NULL::{table}, $1::text::json)"
        );
        self.execute(table, &statement, &[&json_text(row)]).await?;
        Ok(())
    }

    /// `INSERT`s, then reads the id as Nextcloud does.
    pub(super) async fn insert_with_id(&self, table: &str, row: &Row) -> Result<i64, WriterError> {
        self.insert(table, row).await?;
        let last = self.client.query_one("SELECT lastval()", &[]).await;
        last.and_then(|row| row.try_get(0))
            .map_err(|source| failed(table, source))
    }

    /// `UPDATE`s every column of `row`, in the one row where `column` is `value`.
    pub(super) async fn update(
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

    /// `DELETE`s the one row where `column` is `value`.
    pub(super) async fn delete(
        &self,
        table: &str,
        column: &'static str,
        value: &str,
    ) -> Result<(), WriterError> {
        let statement = format!("DELETE FROM {table} WHERE {column}::text = $1");
        let count = self.execute(table, &statement, &[&value]).await?;
        expect_row(count, table, column, value)
    }

    /// Reads the row where `column` is `value`.
    pub(super) async fn select(
        &self,
        table: &str,
        column: &'static str,
        value: &str,
    ) -> Result<Row, WriterError> {
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
}
