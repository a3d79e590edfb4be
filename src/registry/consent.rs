//! What a receiver allowed when it was asked (the handshake), as it is stored with its webhook.
//!
//! Guarantees: an answer is stored only with the registration that the receiver was asked about; an answer that changes nothing for
//! deliveries is no change of the registration.

use super::audit::Caller;
use super::change::Changed;
use super::error::RegistryError;
use super::handshake::Handshake;
use super::live::Registry;
use super::webhook::{Status, WebhookId};

impl Registry {
    /// Enables or resumes a webhook, with what its receiver allowed just now, if it was asked, about the registration of this revision.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] where there is none; [`RegistryError::Changed`] if it was changed since its receiver was asked: then
    /// nothing is done.
    pub async fn enable(
        &self,
        by: &Caller,
        id: WebhookId,
        made: Option<(i64, Handshake)>,
    ) -> Result<Changed, RegistryError> {
        self.change(by, id, "enable", None, Vec::new(), |record, time| {
            if record.status != Status::Enabled {
                record.status_since = time;
            }
            record.status = Status::Enabled;
            if let Some((revision, made)) = made {
                record.must_be_of(revision)?;
                record.handshake = Some(made);
            }
            Ok(())
        })
        .await
    }

    /// Keeps what a receiver allowed when it was asked again, and allowed another rate than before.
    ///
    /// # Errors
    /// [`RegistryError::Changed`] if the registration was changed since, [`RegistryError::NotFound`] if it is gone: then nothing is done.
    pub async fn renew_handshake(
        &self,
        id: WebhookId,
        revision: i64,
        made: Handshake,
    ) -> Result<Changed, RegistryError> {
        let by = Caller::system();
        self.change(&by, id, "handshake", None, Vec::new(), |record, _| {
            record.must_be_of(revision)?;
            record.handshake = Some(made);
            Ok(())
        })
        .await
    }

    /// Pauses a webhook whose receiver has withdrawn its permission. Events go on being collected.
    ///
    /// # Errors
    /// [`RegistryError::Changed`] if the registration was changed since, [`RegistryError::NotFound`] if it is gone: then nothing is done.
    pub async fn pause_refused(
        &self,
        id: WebhookId,
        revision: i64,
        refused: Handshake,
    ) -> Result<Changed, RegistryError> {
        let by = Caller::system();
        self.change(&by, id, "pause", None, Vec::new(), |record, time| {
            record.must_be_of(revision)?;
            record.handshake = Some(refused);
            record.status = Status::Paused;
            record.status_since = time;
            Ok(())
        })
        .await
    }

    /// What is stored of a handshake now, and of which revision of the registration; other processes may have asked the receiver, too.
    ///
    /// # Errors
    /// If the query fails, or what is stored cannot be read.
    pub async fn stored_handshake(&self, id: WebhookId) -> Result<Option<(i64, Handshake)>, RegistryError> {
        let client = self.pool.get().await?;
        let sql = "SELECT revision, handshake FROM openregister_webhooks.webhook WHERE id = $1 AND handshake IS NOT NULL";
        let Some(row) = client.query_opt(sql, &[&id.0]).await? else {
            return Ok(None);
        };
        Handshake::from_text(row.get(1))
            .map(|made| Some((row.get(0), made)))
            .map_err(|reason| RegistryError::Unreadable { id, reason })
    }

    /// Notes what a receiver answered when it was asked again, without a change of the registration: its revision, its health and what
    /// other processes have in memory stay as they are. Nothing is done if the registration was changed since; whether it was stored.
    ///
    /// # Errors
    /// If the query fails.
    pub async fn note_handshake(
        &self,
        id: WebhookId,
        revision: i64,
        made: Handshake,
    ) -> Result<bool, RegistryError> {
        let text = made.shown().to_string();
        let sql = "UPDATE openregister_webhooks.webhook SET handshake = $3 WHERE id = $1 AND revision = $2 AND handshake IS NOT NULL";
        let client = self.pool.get().await?;
        let stored = client.execute(sql, &[&id.0, &revision, &text]).await? == 1;
        if stored {
            self.show_handshake(id, revision, &made);
        }
        Ok(stored)
    }
}
