//! The doorbell: a LISTEN connection, and the gate that tells writers when to ring.
//!
//! NOTIFY takes a lock that serialises all commits, so writers ring only while the reader sleeps. The reader closes the gate (it tries
//! to take an advisory lock exclusively) before it sleeps, and opens it when it wakes. A writer tries to take the same lock shared, for
//! its transaction, and rings only if it cannot. So the gate closes only when every writer that found it open has ended, and no
//! commit can slip through between the reader's last look and its sleep.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::locks;
use super::loss_notices::LossNotices;
use super::settings::DoorbellMode;
use crate::database::{Database, Notifications};

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
        if self
            .listening
            .as_ref()
            .is_some_and(|(client, _)| !client.is_closed())
        {
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

    /// Closes the gate if every writer that found it open has ended; whether it is closed.
    pub(crate) async fn close_gate(&self, client: &Client) -> Result<bool, tokio_postgres::Error> {
        let rows = client
            .query_typed("SELECT pg_try_advisory_lock($1)", &[(&locks::GATE, Type::INT8)])
            .await?;
        Ok(rows.first().is_some_and(|r| r.get(0)))
    }

    pub(crate) async fn open_gate(&self, client: &Client) -> Result<(), tokio_postgres::Error> {
        client
            .query_typed("SELECT pg_advisory_unlock($1)", &[(&locks::GATE, Type::INT8)])
            .await
            .map(drop)
    }
}
