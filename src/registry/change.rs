//! Changes of registrations: each one transaction, with its row in the audit table.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::audit::{self, AuditEntry, Caller};
use super::body::BodyOptions;
use super::edit::{apply, detail};
use super::error::{Refused, RegistryError};
use super::extras::SecretChoice;
use super::live::Registry;
use super::open_transactions::wait_for_open_transactions;
use super::record::Record;
use super::registration::Registration;
use super::revision::{begin, next_revision};
use super::secret::{self, StoredSecret};
use super::store::{self, Which};
use super::webhook::{Status, Webhook, WebhookId};
use super::{row, sealing};

/// A webhook after a change.
#[derive(Debug, Clone)]
pub struct Changed {
    pub webhook: Arc<Webhook>,
    /// The signing secret, where this change set it: the one moment at which it is shown.
    pub secret: Option<SecretString>,
    /// What the caller should know.
    pub warnings: Vec<String>,
}

/// How many secrets sign at once at most: the newest, and those that a rotation still lets sign.
const MOST_SECRETS: usize = 5;

impl Registry {
    /// Registers a webhook. When this returns, what commits from now on is captured for it.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn create(&self, by: &Caller, asked: Registration) -> Result<Changed, RegistryError> {
        let mut client = self.pool.get().await?;
        let tx = begin(&mut client).await?;
        let revision = next_revision(&tx).await?;
        let id = store::reserve(&tx, revision).await?;
        let secret = match &asked.extras.secret {
            Some(SecretChoice::Given(secret)) => secret.clone(),
            Some(SecretChoice::Generate) | None => secret::generate()?,
        };
        let time = Utc::now();
        let mut record = Record {
            id,
            revision,
            app_id: None,
            user_id: String::new(),
            http_method: String::new(),
            uri: String::new(),
            event: asked.event.clone(),
            event_filter: Value::Null,
            user_id_filter: String::new(),
            headers: None,
            auth_method: asked.auth_method,
            auth_data: None,
            token_needed: asked.token_needed.clone(),
            secrets: vec![StoredSecret {
                secret: secret.clone(),
                until: None,
            }],
            client_certificate: None,
            legacy_signature: false,
            gap_events: false,
            handshake: None,
            format: asked.extras.format.unwrap_or_default(),
            data_mode: asked.extras.data_mode.unwrap_or_default(),
            options: BodyOptions::default(),
            status: Status::Enabled,
            status_since: time,
            per_second: None,
            burst: None,
            max_in_flight: None,
            timeout: None,
            ordering: asked.extras.ordering.unwrap_or_default(),
            max_attempts: None,
            schedule: None,
            created_at: time,
            updated_at: time,
        };
        let warnings = asked.warnings.clone();
        apply(&mut record, asked, by, time)?;
        record.check(&self.defaults).map_err(Refused::from)?;
        row::write(&tx, &self.vault, &record, revision).await?;
        audit::insert(&tx, by, "create", Some(id), &detail(&record)).await?;
        let switched = store::set_kinds(&tx).await?;
        tx.commit().await?;
        self.finish(&client, id, Some(secret), warnings, switched).await
    }

    /// Updates a webhook: what the request leaves out of `headers`, `authData` and our own fields stays, as in Nextcloud.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] where there is none.
    pub async fn update(
        &self,
        by: &Caller,
        id: WebhookId,
        asked: Registration,
    ) -> Result<Changed, RegistryError> {
        let secret = match &asked.extras.secret {
            Some(SecretChoice::Given(secret)) => Some(secret.clone()),
            Some(SecretChoice::Generate) => Some(secret::generate()?),
            None => None,
        };
        let warnings = asked.warnings.clone();
        self.change(by, id, "update", secret.clone(), warnings, |record, time| {
            apply(record, asked, by, time)?;
            record.check(&self.defaults).map_err(Refused::from)?;
            if let Some(secret) = secret {
                record.secrets = vec![StoredSecret { secret, until: None }];
            }
            Ok(())
        })
        .await
    }

    /// Enables, pauses or disables a webhook whose receiver need not be asked; [`Self::enable`] keeps what it answered.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] where there is none.
    pub async fn set_status(
        &self,
        by: &Caller,
        id: WebhookId,
        status: Status,
    ) -> Result<Changed, RegistryError> {
        let action = match status {
            Status::Enabled => "enable",
            Status::Paused => "pause",
            Status::Disabled { .. } => "disable",
        };
        self.change(by, id, action, None, Vec::new(), |record, time| {
            if std::mem::discriminant(&record.status) != std::mem::discriminant(&status) {
                record.status_since = time;
            }
            record.status = status;
            Ok(())
        })
        .await
    }

    /// Disables a webhook for what was found out about the registration of this revision.
    ///
    /// # Errors
    /// [`RegistryError::Changed`] where it was changed since, [`RegistryError::NotFound`] where it is gone: then nothing is done.
    pub async fn disable(
        &self,
        id: WebhookId,
        revision: i64,
        reason: String,
    ) -> Result<Changed, RegistryError> {
        self.change(
            &Caller::system(),
            id,
            "disable",
            None,
            Vec::new(),
            |record, time| {
                record.must_be_of(revision)?;
                record.status = Status::Disabled { reason, since: time };
                record.status_since = time;
                Ok(())
            },
        )
        .await
    }

    /// Gives a webhook a new signing secret; the old ones go on signing beside it for `overlap`.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] where there is none.
    pub async fn rotate_secret(
        &self,
        by: &Caller,
        id: WebhookId,
        new: Option<SecretString>,
        overlap: std::time::Duration,
    ) -> Result<Changed, RegistryError> {
        let secret = match new {
            Some(secret) => secret,
            None => secret::generate()?,
        };
        let shown = Some(secret.clone());
        self.change(by, id, "rotate-secret", shown, Vec::new(), |record, time| {
            let end = time + Duration::from_std(overlap).unwrap_or_default();
            for old in &mut record.secrets {
                old.until = Some(
                    old.until
                        .map_or(end.timestamp(), |until| until.min(end.timestamp())),
                );
            }
            record
                .secrets
                .retain(|old| old.until.is_some_and(|until| until > time.timestamp()));
            record.secrets.insert(0, StoredSecret { secret, until: None });
            record.secrets.truncate(MOST_SECRETS);
            Ok(())
        })
        .await
    }

    /// Removes a webhook; `false` where there was none.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn delete(&self, by: &Caller, id: WebhookId) -> Result<bool, RegistryError> {
        let gone = self.remove(by, &Which::One(id)).await?;
        Ok(gone > 0)
    }

    /// Removes every webhook that an app registered; how many there were.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn delete_by_app(&self, by: &Caller, app_id: &str) -> Result<usize, RegistryError> {
        self.remove(by, &Which::OfApp(app_id)).await
    }

    /// Encrypts every stored secret with the first of the keys, after which the others are not needed any more; how
    /// many registrations there are.
    ///
    /// # Errors
    /// [`VaultError::Unreadable`](super::vault::VaultError) where a secret is encrypted with none of the keys: then nothing is changed.
    pub async fn rotate_key(&self) -> Result<usize, RegistryError> {
        let mut client = self.pool.get().await?;
        let tx = begin(&mut client).await?;
        next_revision(&tx).await?;
        let count = sealing::rotate_key(&tx, &self.vault).await?;
        tx.commit().await?;
        Ok(count)
    }

    /// The audit table, newest first: at most `limit` rows before the row `before`.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn audit(
        &self,
        webhook: Option<WebhookId>,
        before: Option<i64>,
        limit: u16,
    ) -> Result<Vec<AuditEntry>, RegistryError> {
        let client = self.pool.get().await?;
        audit::list(&**client, webhook, before, limit).await
    }

    async fn remove(&self, by: &Caller, which: &Which<'_>) -> Result<usize, RegistryError> {
        let mut client = self.pool.get().await?;
        let tx = begin(&mut client).await?;
        let revision = next_revision(&tx).await?;
        let removed = store::remove(&tx, which).await?;
        if removed.is_empty() {
            // Nothing changed: leave the revision as it was.
            tx.rollback().await?;
            return Ok(0);
        }
        for (id, uri, event) in &removed {
            audit::insert(&tx, by, "delete", Some(*id), &json!({"uri": uri, "event": event})).await?;
        }
        store::set_kinds(&tx).await?;
        tx.commit().await?;
        tracing::info!(
            user = by.user,
            revision,
            count = removed.len(),
            "webhooks removed"
        );
        self.refresh_with(&**client).await?;
        Ok(removed.len())
    }

    /// One change of one webhook.
    pub(super) async fn change(
        &self,
        by: &Caller,
        id: WebhookId,
        action: &str,
        secret: Option<SecretString>,
        warnings: Vec<String>,
        edit: impl FnOnce(&mut Record, DateTime<Utc>) -> Result<(), RegistryError>,
    ) -> Result<Changed, RegistryError> {
        let mut client = self.pool.get().await?;
        let tx = begin(&mut client).await?;
        let revision = next_revision(&tx).await?;
        let mut record = store::lock(&tx, &self.vault, id)
            .await?
            .ok_or(RegistryError::NotFound(id))?;
        edit(&mut record, Utc::now())?;
        row::write(&tx, &self.vault, &record, revision).await?;
        audit::insert(&tx, by, action, Some(id), &detail(&record)).await?;
        let switched = store::set_kinds(&tx).await?;
        tx.commit().await?;
        self.finish(&client, id, secret, warnings, switched).await
    }

    /// After the commit: waits for writers that a switched-on kind needs, and shows the webhook as it is now.
    async fn finish(
        &self,
        client: &tokio_postgres::Client,
        id: WebhookId,
        secret: Option<SecretString>,
        mut warnings: Vec<String>,
        switched: bool,
    ) -> Result<Changed, RegistryError> {
        let snapshot = self.refresh_with(client).await?;
        if switched && !wait_for_open_transactions(client).await? {
            warnings.push(
                "transactions older than this registration are still open; changes they made before it are not sent".to_owned(),
            );
        }
        let webhook = snapshot.get(id).cloned().ok_or_else(|| {
            let reason = snapshot.unreadable().iter().find(|(bad, _)| *bad == id);
            match reason {
                Some((_, reason)) => RegistryError::Unreadable {
                    id,
                    reason: reason.clone(),
                },
                None => RegistryError::NotFound(id),
            }
        })?;
        Ok(Changed {
            webhook,
            secret,
            warnings,
        })
    }
}
