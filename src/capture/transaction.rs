//! The transaction of a batch, in few round trips.
//!
//! Guarantees: BEGIN is sent when the transaction is made and not waited for; statements that are left for the end ([`leave`]) are
//! sent together with COMMIT, in their order, after everything else. COMMIT is not sent if one of them could not be sent, and
//! PostgreSQL rolls back if one of them failed: so the transaction is committed as a whole or not at all. A transaction that is
//! dropped is rolled back.
//!
//! [`leave`]: BatchTransaction::leave

use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Poll;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio_postgres::{Client, Error, Row, Statement};

use crate::database::{Parameter, Session, Write};

/// The rows of a statement that was left for the end.
#[derive(Debug, Clone, Default)]
pub struct Answer(Arc<OnceLock<Vec<Row>>>);

impl Answer {
    /// The rows; none before the transaction is committed.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        self.0.get().map_or(&[], Vec::as_slice)
    }

    /// The same, without copying them; `None` before the transaction is committed, and if somebody else holds the answer, too.
    #[must_use]
    pub fn into_rows(self) -> Option<Vec<Row>> {
        Arc::into_inner(self.0).and_then(OnceLock::into_inner)
    }
}

/// Why a transaction was not committed.
#[derive(Debug)]
pub(super) enum CommitError {
    /// It was rolled back, or will be.
    NotCommitted(Error),
    /// Nobody knows whether it was committed: the connection is of no use any more.
    Unknown(Error),
}

/// A transaction; it derefs to the connection, whose statements are part of it.
pub struct BatchTransaction<'s> {
    session: &'s Session,
    /// BEGIN, until its answer is looked at.
    begin: Mutex<Option<BoxFuture<'s, Result<(), Error>>>>,
    last: Mutex<Vec<(Write, Answer)>>,
    ended: bool,
}

impl std::fmt::Debug for BatchTransaction<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchTransaction")
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Deref for BatchTransaction<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.session.client()
    }
}

impl<'s> BatchTransaction<'s> {
    /// Begins with these statements, the first of which is `BEGIN`.
    pub(super) fn begin(session: &'s Session, statements: &'static str) -> Self {
        let mut begin = session.client().batch_execute(statements).boxed();
        // The first poll sends it; whoever waits for a later statement has its answer, too.
        let done = (&mut begin).now_or_never();
        let begin = match done {
            Some(done) => std::future::ready(done).boxed(),
            None => begin,
        };
        Self {
            session,
            begin: Mutex::new(Some(begin)),
            last: Mutex::default(),
            ended: false,
        }
    }

    /// Whether the transaction has begun: waits for the answer.
    pub(super) async fn begun(&self) -> Result<(), Error> {
        let begin = self.begin.lock().unwrap_or_else(PoisonError::into_inner).take();
        match begin {
            Some(begin) => begin.await,
            None => Ok(()),
        }
    }

    /// Runs statements, all sent at once, one after the other; the rows of the last one.
    ///
    /// # Errors
    /// The error of the first that fails.
    pub async fn together(&self, statements: &[(&str, &[Parameter<'_>])]) -> Result<Vec<Row>, Error> {
        let prepared = self.prepare(statements).await?;
        let mut sending = Vec::with_capacity(statements.len());
        for ((sql, parameters), prepared) in statements.iter().zip(&prepared) {
            sending.push(self.session.send(prepared.as_ref(), sql, parameters).boxed());
        }
        let mut answers = receive(send(sending).await?).await?;
        self.begun().await?;
        Ok(answers.pop().unwrap_or_default())
    }

    /// Leaves a statement for the end: it is sent with COMMIT, after those that were left before.
    pub fn leave(&self, write: Write) -> Answer {
        let answer = Answer::default();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.push((write, answer.clone()));
        answer
    }

    /// Runs what was left for the end, and commits.
    pub(super) async fn commit(mut self) -> Result<(), CommitError> {
        let last = std::mem::take(self.last.get_mut().unwrap_or_else(PoisonError::into_inner));
        let parameters: Vec<Vec<Parameter<'_>>> = last.iter().map(|(write, _)| write.parameters()).collect();
        let statements: Vec<(&str, &[Parameter<'_>])> = last
            .iter()
            .zip(&parameters)
            .map(|((write, _), parameters)| (write.sql, parameters.as_slice()))
            .collect();
        let sent = self.send_with_commit(&statements).await;
        let sent = sent.map_err(CommitError::NotCommitted)?;
        // If one of them fails, COMMIT rolls back.
        self.ended = true;
        let answers = receive(sent).await.map_err(|error| {
            if error.as_db_error().is_some() {
                CommitError::NotCommitted(error)
            } else {
                CommitError::Unknown(error)
            }
        })?;
        for ((_, answer), rows) in last.iter().zip(answers) {
            // It is set once: `last` was taken.
            let _ = answer.0.set(rows);
        }
        Ok(())
    }

    /// Sends these statements and COMMIT.
    async fn send_with_commit<'a>(
        &self,
        statements: &'a [(&'a str, &'a [Parameter<'a>])],
    ) -> Result<Vec<Sent<'a>>, Error>
    where
        's: 'a,
    {
        self.begun().await?;
        let session = self.session;
        let prepared = self.prepare(statements).await?;
        let mut sending: Vec<Sent<'a>> = Vec::with_capacity(statements.len() + 1);
        for ((sql, parameters), prepared) in statements.iter().zip(prepared) {
            sending.push(async move { session.send(prepared.as_ref(), sql, parameters).await }.boxed());
        }
        let commit = session.client().batch_execute("COMMIT");
        sending.push(commit.map(|done| done.map(|()| Vec::new())).boxed());
        send(sending).await
    }

    async fn prepare(
        &self,
        statements: &[(&str, &[Parameter<'_>])],
    ) -> Result<Vec<Option<Statement>>, Error> {
        let mut prepared = Vec::with_capacity(statements.len());
        for (sql, parameters) in statements {
            let types = parameters.iter().map(|(_, kind)| kind);
            prepared.push(self.session.prepare(sql, types).await?);
        }
        Ok(prepared)
    }

    /// Rolls back.
    pub(super) async fn rollback(mut self) -> Result<(), Error> {
        self.ended = true;
        self.session.client().batch_execute("ROLLBACK").await
    }
}

impl Drop for BatchTransaction<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // The first poll sends it; a later statement waits for its turn.
            let _ = self.session.client().batch_execute("ROLLBACK").now_or_never();
        }
    }
}

type Sent<'s> = BoxFuture<'s, Result<Vec<Row>, Error>>;

/// Sends these statements one after the other. If one cannot be sent, those after it are not.
async fn send(statements: Vec<Sent<'_>>) -> Result<Vec<Sent<'_>>, Error> {
    let mut sent = Vec::with_capacity(statements.len());
    for mut statement in statements {
        match futures::poll!(&mut statement) {
            Poll::Ready(done) => sent.push(std::future::ready(Ok(done?)).boxed()),
            Poll::Pending => sent.push(statement),
        }
    }
    Ok(sent)
}

/// Waits for the answers. The first error is the cause; later ones only say that the transaction is aborted.
async fn receive(sent: Vec<Sent<'_>>) -> Result<Vec<Vec<Row>>, Error> {
    let mut answers = Vec::with_capacity(sent.len());
    let mut failure = None;
    for answer in sent {
        match answer.await {
            Ok(rows) => answers.push(rows),
            Err(error) => {
                failure.get_or_insert(error);
            }
        }
    }
    failure.map_or(Ok(answers), Err)
}
