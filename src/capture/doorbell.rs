//! The doorbell: a LISTEN connection, and the gate that tells writers when to ring.
//!
//! NOTIFY takes a lock that serialises all commits, so writers ring only while the reader sleeps. The reader closes the gate (it tries
//! to take an advisory lock exclusively) before it sleeps, and opens it when it wakes. A writer tries to take the same lock shared, for
//! its transaction, and rings only if it cannot. So the gate closes only when every writer that found it open has ended, and no
//! commit can slip through between the reader's last look and its sleep. While writers are slower than the reader, the gate stays closed:
//! then every commit rings.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Statement};

use super::locks;
use super::loss_notices::LossNotices;
use super::settings::DoorbellMode;
use crate::database::{Database, Notifications, Session};

/// How long connecting, or a check of the connection, may take.
const CONNECT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Doorbell {
    database: Database,
    mode: DoorbellMode,
    table_prefix: Arc<str>,
    notices: LossNotices,
    listening: Option<(Client, Notifications)>,
}

impl Doorbell {
    /// Notifications of changes that writers could not capture go to `notices`.
    pub(crate) const fn new(
        database: Database,
        mode: DoorbellMode,
        table_prefix: Arc<str>,
        notices: LossNotices,
    ) -> Self {
        Self {
            database,
            mode,
            table_prefix,
            notices,
            listening: None,
        }
    }

    /// Whether a ring would arrive; connects if necessary. If not, the reader polls.
    pub(crate) async fn ready(&mut self) -> bool {
        if self.mode == DoorbellMode::Poll {
            return false;
        }
        if self.listens() {
            return true;
        }
        let listen = async {
            let (notices, prefix) = (self.notices.clone(), Arc::clone(&self.table_prefix));
            let hear = move |payload: &str| notices.hear(payload, &prefix);
            let (client, notifications) = self.database.connect_hearing(hear).await?;
            client.batch_execute("LISTEN openregister_webhooks").await?;
            Ok::<_, crate::database::DatabaseError>((client, notifications))
        };
        self.listening = match timeout(CONNECT, listen).await {
            Ok(Ok(listening)) => Some(listening),
            Ok(Err(error)) => {
                tracing::warn!(error = %crate::error_text::chain(&error), "the doorbell's connection is lost; polling");
                None
            }
            Err(_) => None,
        };
        self.listening.is_some()
    }

    /// Whether it has listened since [`Self::ready`] and a ring would arrive.
    pub(crate) fn listens(&self) -> bool {
        let listening = self.listening.as_ref();
        listening.is_some_and(|(client, _)| !client.is_closed())
    }

    /// Waits for a ring, or for the end of the connection. Safe to cancel.
    pub(crate) async fn ring(&mut self) {
        match &mut self.listening {
            Some((_, notifications)) => {
                if !notifications.ring().await {
                    self.listening = None;
                }
            }
            None => std::future::pending().await,
        }
    }

    /// Stops listening.
    pub(crate) fn close(&mut self) {
        self.listening = None;
    }

    /// Closes the connection if it no longer answers: a half-open connection would never ring again.
    pub(crate) async fn check(&mut self) {
        if let Some((client, _)) = &self.listening
            && !matches!(timeout(CONNECT, client.batch_execute("")).await, Ok(Ok(())))
        {
            self.listening = None;
        }
    }

    /// Whether it has rung since the last [`Self::ring`]; takes the ring.
    pub(crate) fn has_rung(&mut self) -> bool {
        let listening = self.listening.as_mut();
        listening.is_some_and(|(_, notifications)| notifications.has_rung())
    }
}

const CLOSE: &str = "SELECT pg_try_advisory_lock($1)";
const OPEN: &str = "SELECT pg_advisory_unlock($1)";

/// The gate, in the reader's session, which opens it when it ends.
#[derive(Debug)]
pub(super) struct Gate {
    close: Option<Statement>,
}

impl Gate {
    pub(super) async fn new(session: &Session) -> Result<Self, tokio_postgres::Error> {
        let close = session.prepare(CLOSE, std::iter::once(&Type::INT8)).await?;
        Ok(Self { close })
    }

    /// Closes the gate if every writer that found it open has ended; whether it is closed. The statement is sent when this is polled
    /// first.
    pub(super) async fn close(&self, session: &Session) -> Result<bool, tokio_postgres::Error> {
        let rows = session
            .send(self.close.as_ref(), CLOSE, &[(&locks::GATE, Type::INT8)])
            .await?;
        Ok(rows.first().is_some_and(|r| r.get(0)))
    }

    pub(super) async fn open(&self, session: &Session) -> Result<(), tokio_postgres::Error> {
        session.query(OPEN, &[(&locks::GATE, Type::INT8)]).await.map(drop)
    }
}
