//! The extended protocol: prepared statements, values for their placeholders, rows in pieces.

use std::sync::Arc;

use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete, PortalSuspended,
    TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::EmptyQueryResponse;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use super::Session;
use super::prepared::{PortalState, Prepared};
use crate::console::error::{ConsoleError, code};
use crate::console::value::{Formats, description, fields, row};
use crate::console::wire::WireError;

/// The answer to a message: an error that the client is told, or one of the connection.
type Answered = Result<Result<(), ConsoleError>, WireError>;

impl Session {
    /// Answers one message.
    pub(super) async fn extended(&mut self, message: PgWireFrontendMessage) -> Answered {
        match message {
            PgWireFrontendMessage::Parse(message) => self.parse(&message).await,
            PgWireFrontendMessage::Bind(message) => self.bind(&message).await,
            PgWireFrontendMessage::Describe(message) => self.describe(&message).await,
            PgWireFrontendMessage::Execute(message) => self.run_portal(&message).await,
            PgWireFrontendMessage::Close(message) => self.close(&message).await,
            _ => Ok(Err(ConsoleError::fatal(
                code::PROTOCOL_VIOLATION,
                "this message does not belong here",
            ))),
        }
    }

    async fn parse(&mut self, message: &Parse) -> Answered {
        let name = message.name.as_deref().unwrap_or_default();
        if !name.is_empty() && self.statements.contains(name) {
            return Ok(Err(ConsoleError::new(
                code::DUPLICATE_STATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            )));
        }
        let stored = Prepared::new(&message.query, &message.type_oids)
            .and_then(|prepared| self.statements.put(name, Arc::new(prepared)));
        if let Err(error) = stored {
            return Ok(Err(error));
        }
        self.wire
            .feed(PgWireBackendMessage::ParseComplete(ParseComplete::new()))
            .await?;
        Ok(Ok(()))
    }

    async fn bind(&mut self, message: &Bind) -> Answered {
        let name = message.statement_name.as_deref().unwrap_or_default();
        let Some(prepared) = self.statements.get(name) else {
            return Ok(Err(no_statement(name)));
        };
        let portal = prepared.bind(
            &message.parameters,
            &message.parameter_format_codes,
            &message.result_column_format_codes,
        );
        let portal_name = message.portal_name.as_deref().unwrap_or_default();
        let stored = portal.and_then(|portal| self.portals.put(portal_name, portal));
        if let Err(error) = stored {
            return Ok(Err(error));
        }
        self.wire
            .feed(PgWireBackendMessage::BindComplete(BindComplete::new()))
            .await?;
        Ok(Ok(()))
    }

    async fn describe(&mut self, message: &Describe) -> Answered {
        let name = message.name.as_deref().unwrap_or_default();
        let columns = if message.target_type == TARGET_TYPE_BYTE_STATEMENT {
            let Some(prepared) = self.statements.get(name) else {
                return Ok(Err(no_statement(name)));
            };
            let types = ParameterDescription::new(prepared.types.clone());
            let columns = prepared.columns();
            self.wire
                .feed(PgWireBackendMessage::ParameterDescription(types))
                .await?;
            columns.map(|columns| fields(columns, &Formats::text(columns.len())))
        } else {
            match self.portals.get(name) {
                Some(portal) => portal.columns.clone(),
                None => return Ok(Err(no_portal(name))),
            }
        };
        let answer = match columns {
            Some(fields) => PgWireBackendMessage::RowDescription(description(&fields)),
            None => PgWireBackendMessage::NoData(NoData::new()),
        };
        self.wire.feed(answer).await?;
        Ok(Ok(()))
    }

    async fn run_portal(&mut self, message: &Execute) -> Answered {
        let name = message.name.as_deref().unwrap_or_default();
        let statement = match self.portals.get(name) {
            None => return Ok(Err(no_portal(name))),
            Some(portal) => match (&portal.state, &portal.statement) {
                (PortalState::New, None) => {
                    let empty = EmptyQueryResponse::new();
                    self.wire
                        .feed(PgWireBackendMessage::EmptyQueryResponse(empty))
                        .await?;
                    return Ok(Ok(()));
                }
                (PortalState::New, statement) => statement.clone(),
                (PortalState::Open(_), _) => None,
                (PortalState::Done, _) => {
                    let message = format!("portal \"{name}\" cannot be run");
                    return Ok(Err(ConsoleError::new(code::NOT_IN_STATE, message)));
                }
            },
        };
        let mut tag = "SHOW";
        if let Some(statement) = statement {
            let done = match self.execute(&statement).await {
                Ok(done) => done,
                Err(error) => return Ok(Err(error)),
            };
            tag = done.tag;
            let rows = done.table.map(|table| table.rows.into_iter());
            if let Some(portal) = self.portals.get_mut(name) {
                portal.state = rows.map_or(PortalState::Done, PortalState::Open);
            }
        }
        self.send_rows(name, message.max_rows, tag).await?;
        Ok(Ok(()))
    }

    /// Sends rows of a portal, at most `most` of them if that is more than 0.
    async fn send_rows(&mut self, name: &str, most: i32, tag: &str) -> Result<(), WireError> {
        let Some(portal) = self.portals.get_mut(name) else {
            return self.complete(tag).await;
        };
        let (PortalState::Open(rows), Some(fields)) = (&mut portal.state, &portal.columns) else {
            return self.complete(tag).await;
        };
        let most = match usize::try_from(most) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(most) => most,
        };
        for values in rows.by_ref().take(most) {
            let row = PgWireBackendMessage::DataRow(row(fields, &values)?);
            self.wire.feed(row).await?;
        }
        if rows.len() > 0 {
            return self
                .wire
                .feed(PgWireBackendMessage::PortalSuspended(PortalSuspended::new()))
                .await;
        }
        portal.state = PortalState::Done;
        self.complete(tag).await
    }

    async fn close(&mut self, message: &Close) -> Answered {
        let name = message.name.as_deref().unwrap_or_default();
        // It is no error if there is none.
        if message.target_type == TARGET_TYPE_BYTE_STATEMENT {
            self.statements.remove(name);
        } else {
            self.portals.remove(name);
        }
        self.wire
            .feed(PgWireBackendMessage::CloseComplete(CloseComplete::new()))
            .await?;
        Ok(Ok(()))
    }
}

fn no_statement(name: &str) -> ConsoleError {
    ConsoleError::new(
        code::NO_STATEMENT,
        format!("prepared statement \"{name}\" does not exist"),
    )
}

fn no_portal(name: &str) -> ConsoleError {
    ConsoleError::new(code::NO_PORTAL, format!("portal \"{name}\" does not exist"))
}
