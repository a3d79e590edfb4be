//! Doing one command: its time, its cancellation, and the transaction that drivers believe in.

use std::time::Duration;

use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::{CommandComplete, TransactionStatus};

use super::Session;
use super::prepared::columns;
use crate::console::commands;
use crate::console::error::{ConsoleError, code};
use crate::console::statement::token::Token;
use crate::console::statement::{Change, Session as Own, Show, Statement, parse};
use crate::console::value::{Formats, Table, description, fields, row};
use crate::console::wire::WireError;

/// How long looking may take.
const LOOKING: Duration = Duration::from_secs(30);
/// How long a test may take: the longest request that a webhook may have, and connecting.
const TESTING: Duration = Duration::from_secs(330);

/// What a command did.
pub(super) struct Done {
    pub(super) table: Option<Table>,
    pub(super) tag: &'static str,
}

impl Session {
    /// Does one command of the simple protocol, and answers it.
    pub(super) async fn command(&mut self, tokens: &[Token]) -> Result<Result<(), ConsoleError>, WireError> {
        let statement = match parse(tokens) {
            Ok(parsed) if parsed.placeholders.is_empty() => parsed.statement,
            Ok(_) => {
                let message = "a placeholder needs a prepared statement";
                return Ok(Err(ConsoleError::new(code::SYNTAX, message)));
            }
            Err(error) => return Ok(Err(error)),
        };
        let done = match self.execute(&statement).await {
            Ok(done) => done,
            Err(error) => return Ok(Err(error)),
        };
        if let (Some(columns), Some(table)) = (columns(&statement), done.table) {
            let fields = fields(columns, &Formats::text(columns.len()));
            let description = PgWireBackendMessage::RowDescription(description(&fields));
            self.wire.feed(description).await?;
            for values in &table.rows {
                let row = PgWireBackendMessage::DataRow(row(&fields, values)?);
                self.wire.feed(row).await?;
            }
        }
        self.complete(done.tag).await?;
        Ok(Ok(()))
    }

    pub(super) async fn complete(&mut self, tag: &str) -> Result<(), WireError> {
        let complete = CommandComplete::new(tag.to_owned());
        self.wire
            .feed(PgWireBackendMessage::CommandComplete(complete))
            .await
    }

    /// Does one command.
    pub(super) async fn execute(&mut self, statement: &Statement) -> Result<Done, ConsoleError> {
        let ends = matches!(statement, Statement::Session(Own::Commit | Own::Rollback));
        if self.transaction == TransactionStatus::Error && !ends {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(ConsoleError::new(code::FAILED_TRANSACTION, message).with_hint("ROLLBACK ends it"));
        }
        match statement {
            Statement::Show(wanted) => self.show(wanted).await,
            Statement::Change(wanted) => self.change(wanted).await,
            Statement::Listen => {
                self.listening.get_or_insert_with(|| self.context.feed.watch());
                Ok(Done {
                    table: None,
                    tag: "LISTEN",
                })
            }
            Statement::Unlisten => {
                self.listening = None;
                Ok(Done {
                    table: None,
                    tag: "UNLISTEN",
                })
            }
            Statement::Session(own) => Ok(self.own(own)),
        }
    }

    async fn show(&mut self, wanted: &Show) -> Result<Done, ConsoleError> {
        let context = self.context.clone();
        let table = self.limited(LOOKING, commands::show(&context, wanted)).await?;
        let tag = if *wanted == Show::One { "SELECT 1" } else { "SHOW" };
        Ok(Done {
            table: Some(table),
            tag,
        })
    }

    async fn change(&mut self, wanted: &Change) -> Result<Done, ConsoleError> {
        let (context, user) = (self.context.clone(), self.user.clone());
        let work = commands::change(&context, &user, wanted);
        // What changes something is short, and is not cut off: nobody would know whether it was done.
        let table = match wanted {
            Change::Test { .. } => self.limited(TESTING, work).await?,
            _ => work.await?,
        };
        Ok(Done {
            table,
            tag: tag(wanted),
        })
    }

    /// Works until the time is over, or the client asks to cancel.
    async fn limited<T>(
        &self,
        time: Duration,
        work: impl Future<Output = Result<T, ConsoleError>>,
    ) -> Result<T, ConsoleError> {
        tokio::select! {
            done = work => done,
            () = self.registered.cancel.notified() => {
                Err(ConsoleError::new(code::CANCELLED, "canceling statement due to user request"))
            }
            () = tokio::time::sleep(time) => Err(ConsoleError::new(
                code::CANCELLED,
                format!("canceling statement: it took longer than {} s", time.as_secs()),
            )),
        }
    }

    /// What concerns the session alone. Transactions exist for drivers only: what a command changes is changed at once.
    fn own(&mut self, own: &Own) -> Done {
        let tag = match own {
            Own::Begin => {
                self.transaction = TransactionStatus::Transaction;
                "BEGIN"
            }
            Own::Commit if self.transaction == TransactionStatus::Error => {
                self.transaction = TransactionStatus::Idle;
                "ROLLBACK"
            }
            Own::Commit => {
                self.transaction = TransactionStatus::Idle;
                "COMMIT"
            }
            Own::Rollback => {
                self.transaction = TransactionStatus::Idle;
                "ROLLBACK"
            }
            Own::Set => "SET",
            Own::Reset => "RESET",
            Own::Deallocate(Some(name)) => {
                self.statements.remove(name);
                "DEALLOCATE"
            }
            Own::Deallocate(None) => {
                self.statements.clear();
                "DEALLOCATE ALL"
            }
            Own::Discard => {
                self.statements.clear();
                "DISCARD ALL"
            }
        };
        Done { table: None, tag }
    }
}

const fn tag(wanted: &Change) -> &'static str {
    match wanted {
        Change::Pause(_) => "PAUSE",
        Change::Resume(_) => "RESUME",
        Change::Enable(_) => "ENABLE",
        Change::Disable { .. } => "DISABLE",
        Change::Test { .. } => "TEST",
        Change::Retry(_) | Change::RetryWebhook(_) => "RETRY",
        Change::Replay(_) => "REPLAY",
        Change::CancelJob(_) => "CANCEL",
    }
}
