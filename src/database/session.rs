//! A connection that prepares each of its statements once.
//!
//! Guarantees: a statement is parsed and planned once in a session; statements that are sent without waiting arrive in the order in
//! which they were sent. Behind a transaction pooler the next statement may go to another session, so nothing is prepared there.

use std::sync::{Mutex, PoisonError};

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, GenericClient, Row, Statement};

/// A parameter and its type.
pub type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A connection with its prepared statements.
#[derive(Debug)]
pub struct Session {
    client: Client,
    /// With their texts; `None` behind a transaction pooler. There are so few that comparing texts takes less time than hashing one.
    statements: Option<Mutex<Vec<(String, Statement)>>>,
}

impl Session {
    /// `keeps`: the session is ours alone, so that it keeps prepared statements.
    #[must_use]
    pub fn new(client: Client, keeps: bool) -> Self {
        Self {
            client,
            statements: keeps.then(Mutex::default),
        }
    }

    /// The connection, for statements that are not worth preparing.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// The connection, for transactions.
    pub const fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// If it cannot be prepared or fails.
    pub async fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Error> {
        let prepared = self.prepare(sql, parameters.iter().map(|(_, kind)| kind)).await?;
        self.send(prepared.as_ref(), sql, parameters).await
    }

    /// Prepares a statement, unless that was done before; `None` behind a transaction pooler.
    pub(crate) async fn prepare(
        &self,
        sql: &str,
        types: impl Iterator<Item = &Type>,
    ) -> Result<Option<Statement>, Error> {
        let Some(statements) = &self.statements else {
            return Ok(None);
        };
        let known = statements
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .find(|(text, _)| text == sql)
            .map(|(_, statement)| statement.clone());
        if known.is_some() {
            return Ok(known);
        }
        let types: Vec<Type> = types.cloned().collect();
        let statement = self.client.prepare_typed(sql, &types).await?;
        statements
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((sql.to_owned(), statement.clone()));
        Ok(Some(statement))
    }

    /// Runs a statement that [`Self::prepare`] has prepared. It is sent when the future is polled first.
    pub(crate) async fn send(
        &self,
        prepared: Option<&Statement>,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Error> {
        match prepared {
            Some(statement) => {
                let values: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|(value, _)| *value).collect();
                self.client.query(statement, &values).await
            }
            None => self.client.query_typed(sql, parameters).await,
        }
    }
}

/// A statement with its parameters, to be run later.
#[derive(Debug)]
pub struct Write {
    pub(crate) sql: &'static str,
    parameters: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl Write {
    #[must_use]
    pub const fn new(sql: &'static str) -> Self {
        Self {
            sql,
            parameters: Vec::new(),
        }
    }

    /// Adds the next parameter.
    #[must_use]
    pub fn with(mut self, value: impl ToSql + Sync + Send + 'static, kind: Type) -> Self {
        self.parameters.push((Box::new(value), kind));
        self
    }

    /// Its parameters, for [`Session::send`].
    pub(crate) fn parameters(&self) -> Vec<Parameter<'_>> {
        let each = self.parameters.iter();
        each.map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone()))
            .collect()
    }

    /// Runs it now.
    ///
    /// # Errors
    /// If it fails.
    pub async fn run(&self, client: &impl GenericClient) -> Result<Vec<Row>, Error> {
        client.query_typed(self.sql, &self.parameters()).await
    }
}
