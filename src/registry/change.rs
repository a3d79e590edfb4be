//! Changes of registrations: each one transaction, with its row in the audit table.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio_postgres::Transaction;

use orw_egress::ClientCertificate;

use super::certificate::CertificateChoice;
use super::registration::{Headers, MASK, Refused, Registration, SecretChoice, looks_secret, unmask};
use super::secret::{self, StoredSecret};
use super::settle::settle;
use super::store::{self, Record};
use super::webhook::InvalidField;
use super::{Caller, Registry, RegistryError, Status, Webhook, WebhookId, target};

/// A webhook after a change.
#[derive(Debug, Clone)]
pub struct Changed {
    pub webhook: Arc<Webhook>,
    /// The signing secret, where this change set it: the one moment at which it is shown.
    pub secret: Option<SecretString>,
    /// What the caller should know.
    pub warnings: Vec<String>,
}

/// A row of the audit table.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub who: String,
    pub client: Option<String>,
    pub action: String,
    pub webhook: WebhookId,
    pub detail: Value,
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
        let revision = store::next_revision(&tx).await?;
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
            secrets: vec![StoredSecret {
                secret: secret.clone(),
                until: None,
            }],
            client_certificate: None,
            legacy_signature: false,
            gap_events: false,
            format: asked.extras.format.unwrap_or_default(),
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
        store::write(&tx, &self.vault, &record, revision).await?;
        store::audit(&tx, by, "create", id, &detail(&record)).await?;
        let switched = set_kinds(&tx).await?;
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
            if let Some(secret) = secret {
                record.secrets = vec![StoredSecret { secret, until: None }];
            }
            Ok(())
        })
        .await
    }

    /// Enables, pauses or disables a webhook.
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
                if record.revision != revision {
                    return Err(RegistryError::Changed(id));
                }
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
        let gone = self
            .remove(
                by,
                "DELETE FROM openregister_webhooks.webhook WHERE id = $1 RETURNING id, uri, event",
                &id.0,
            )
            .await?;
        Ok(gone > 0)
    }

    /// Removes every webhook that an app registered; how many there were.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn delete_by_app(&self, by: &Caller, app_id: &str) -> Result<usize, RegistryError> {
        self.remove(
            by,
            "DELETE FROM openregister_webhooks.webhook WHERE app_id = $1 RETURNING id, uri, event",
            &app_id,
        )
        .await
    }

    /// Encrypts every stored secret with the first of the keys, after which the others are not needed any more; how
    /// many registrations there are.
    ///
    /// # Errors
    /// [`VaultError::Unreadable`](super::VaultError) where a secret is encrypted with none of the keys: then nothing is changed.
    pub async fn rotate_key(&self) -> Result<usize, RegistryError> {
        let mut client = self.pool.get().await?;
        let tx = begin(&mut client).await?;
        store::next_revision(&tx).await?;
        let count = store::rotate_key(&tx, &self.vault).await?;
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
        let rows = client
            .query(
                "SELECT id, at, who, client, action, webhook_id, detail FROM openregister_webhooks.audit \
                 WHERE ($1::bigint IS NULL OR webhook_id = $1) AND ($2::bigint IS NULL OR id < $2) \
                 ORDER BY id DESC LIMIT $3",
                &[&webhook.map(|id| id.0), &before, &i64::from(limit)],
            )
            .await?;
        Ok(rows
            .iter()
            .map(|row| AuditEntry {
                id: row.get(0),
                at: row.get(1),
                who: row.get(2),
                client: row.get(3),
                action: row.get(4),
                webhook: WebhookId(row.get(5)),
                detail: orw_model::json::parse(row.get(6)).unwrap_or_default(),
            })
            .collect())
    }

    async fn remove(
        &self,
        by: &Caller,
        sql: &str,
        key: &(dyn tokio_postgres::types::ToSql + Sync),
    ) -> Result<usize, RegistryError> {
        let mut client = self.pool.get().await?;
        let tx = begin(&mut client).await?;
        let revision = store::next_revision(&tx).await?;
        let rows = tx.query(sql, &[key]).await?;
        if rows.is_empty() {
            // Nothing changed: leave the revision as it was.
            tx.rollback().await?;
            return Ok(0);
        }
        for row in &rows {
            let (uri, event): (&str, &str) = (row.get(1), row.get(2));
            store::audit(
                &tx,
                by,
                "delete",
                WebhookId(row.get(0)),
                &json!({"uri": uri, "event": event}),
            )
            .await?;
        }
        set_kinds(&tx).await?;
        tx.commit().await?;
        tracing::info!(user = by.user, revision, count = rows.len(), "webhooks removed");
        self.refresh_with(&**client).await?;
        Ok(rows.len())
    }

    async fn change(
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
        let revision = store::next_revision(&tx).await?;
        let mut record = store::lock(&tx, &self.vault, id)
            .await?
            .ok_or(RegistryError::NotFound(id))?;
        edit(&mut record, Utc::now())?;
        store::write(&tx, &self.vault, &record, revision).await?;
        store::audit(&tx, by, action, id, &detail(&record)).await?;
        let switched = set_kinds(&tx).await?;
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
        if switched && !settle(client).await? {
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

/// A transaction that waits for nobody longer than an answer may take.
async fn begin(client: &mut tokio_postgres::Client) -> Result<Transaction<'_>, RegistryError> {
    let tx = client.transaction().await?;
    tx.batch_execute("SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = '20s'")
        .await?;
    Ok(tx)
}

/// Puts what a request asks for into a record. `headers`, `authData`, the app and our own fields stay where it leaves
/// them out; the others take their defaults.
fn apply(record: &mut Record, asked: Registration, by: &Caller, time: DateTime<Utc>) -> Result<(), Refused> {
    if moves(record, &asked) {
        leave_credentials(record, &asked)?;
    }
    record.user_id.clone_from(&by.user);
    if by.app_id.is_some() {
        record.app_id.clone_from(&by.app_id);
    }
    record.http_method = asked.http_method;
    record.uri = asked.uri;
    record.event = asked.event;
    record.event_filter = asked.event_filter;
    record.user_id_filter = asked.user_id_filter;
    record.auth_method = asked.auth_method;
    if let Some(mut headers) = asked.headers {
        unmask(&mut headers, record.headers.as_ref());
        record.headers = Some(headers);
    }
    if let Some(mut data) = asked.auth_data {
        unmask(&mut data, record.auth_data.as_ref());
        record.auth_data = Some(data);
    }
    let extras = asked.extras;
    match extras.client_certificate {
        Some(CertificateChoice::Given(certificate)) => record.client_certificate = Some(*certificate),
        Some(CertificateChoice::Remove) => record.client_certificate = None,
        Some(CertificateChoice::Keep) | None => {}
    }
    record.legacy_signature = extras.legacy_signature.unwrap_or(record.legacy_signature);
    record.gap_events = extras.gap_events.unwrap_or(record.gap_events);
    record.format = extras.format.unwrap_or(record.format);
    record.ordering = extras.ordering.unwrap_or(record.ordering);
    record.per_second = extras.per_second.or(record.per_second);
    record.burst = extras.burst.or(record.burst);
    record.timeout = extras.timeout.or(record.timeout);
    record.max_in_flight = extras.max_in_flight.or(record.max_in_flight);
    record.max_attempts = extras.max_attempts.or(record.max_attempts);
    record.schedule = extras.schedule.or(record.schedule.take());
    match (extras.enabled, &record.status) {
        (Some(true), Status::Disabled { .. }) => {
            record.status = Status::Enabled;
            record.status_since = time;
        }
        (Some(false), Status::Enabled | Status::Paused) => {
            record.status = Status::Disabled {
                reason: format!("disabled by {}", by.user),
                since: time,
            };
            record.status_since = time;
        }
        _ => {}
    }
    Ok(())
}

/// Whether an update sends to another origin (scheme, host, port) than before.
fn moves(record: &Record, asked: &Registration) -> bool {
    target::parse(&record.uri).is_ok_and(|before| target::origin(&before) != target::origin(&asked.target))
}

/// Whoever may update a webhook must not learn its credentials by sending them to a host of his own: what answers mask
/// does not follow to another origin unless the request sends it again. The signing secret may stay, for no request
/// carries it.
fn leave_credentials(record: &mut Record, asked: &Registration) -> Result<(), Refused> {
    let refuse = |field: &str, name: &str| {
        let field = format!("{field}.{name}");
        let reason =
            "uri moves to another origin, where what is stored does not go: send the value again".to_owned();
        Err(InvalidField { field, reason }.into())
    };
    let masked = |sent: &Headers| {
        let mut names = sent.iter().filter(|(_, value)| value.expose_secret() == MASK);
        names.next().map(|(name, _)| name.clone())
    };
    let certificate = &asked.extras.client_certificate;
    if record.client_certificate.is_some() && matches!(certificate, None | Some(CertificateChoice::Keep)) {
        return refuse("clientCertificate", "key");
    }
    match (&asked.headers, &record.headers) {
        (Some(sent), _) => {
            if let Some(name) = masked(sent) {
                return refuse("headers", &name);
            }
        }
        (None, Some(stored)) => {
            if let Some((name, _)) = stored.iter().find(|(name, _)| looks_secret(name)) {
                return refuse("headers", name);
            }
        }
        (None, None) => {}
    }
    match &asked.auth_data {
        Some(sent) => match masked(sent) {
            Some(name) => refuse("authData", &name),
            None => Ok(()),
        },
        // Without `authData`, `authMethod` is `none`: nothing would be sent now, nor may it be later.
        None => {
            record.auth_data = None;
            Ok(())
        }
    }
}

/// What the audit table keeps of a registration: nothing secret, header names only.
fn detail(record: &Record) -> Value {
    let names = |headers: &Option<Headers>| {
        headers
            .as_ref()
            .map(|list| list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>())
    };
    let (status, reason) = match &record.status {
        Status::Enabled => ("enabled", None),
        Status::Paused => ("paused", None),
        Status::Disabled { reason, .. } => ("disabled", Some(reason)),
    };
    json!({
        "httpMethod": record.http_method,
        "uri": record.uri,
        "event": record.event.as_str(),
        "eventFilter": record.event_filter,
        "userIdFilter": record.user_id_filter,
        "headers": names(&record.headers),
        "authMethod": record.auth_method.as_str(),
        "format": record.format.as_str(),
        "clientCertificate": record.client_certificate.as_ref().map(ClientCertificate::shown_fingerprint),
        "legacySignature": record.legacy_signature,
        "gapEvents": record.gap_events,
        "status": status,
        "reason": reason,
    })
}

/// Sets which kinds are captured from the registrations as this transaction leaves them; whether a kind was switched on.
async fn set_kinds(tx: &Transaction<'_>) -> Result<bool, RegistryError> {
    let row = tx
        .query_one("SELECT openregister_webhooks.set_kinds()", &[])
        .await?;
    Ok(row.get(0))
}
