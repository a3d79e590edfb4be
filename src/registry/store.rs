//! Registrations in the database: rows to [`Webhook`]s and back.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio_postgres::{Row, Transaction};
use zeroize::Zeroizing;

use orw_egress::ClientCertificate;

use super::certificate;
use super::reading::{Readings, STAMP, Stamp};
use super::registration::{AuthMethod, Headers, Refused};
use super::secret::{self, StoredSecret};
use super::snapshot::Snapshot;
use super::vault::{Field, Seal, Vault};
use super::webhook::{Auth, EventPattern, Format, HttpMethod, Limits, Ordering, Status, Webhook};
use super::{Defaults, RegistryError, WebhookId, target};
use orw_filter::Filter;

const COLUMNS: &str = "w.id, w.revision, w.app_id, w.user_id, w.http_method, w.uri, w.event, w.event_filter, \
     w.user_id_filter, w.headers, w.auth_method, w.auth_data, w.secrets, w.format, w.status, w.status_reason, \
     w.status_since, w.per_second, w.burst, w.max_in_flight, w.timeout_ms, w.ordering, w.max_attempts, w.schedule, \
     w.created_at, w.updated_at, w.client_certificate, w.legacy_signature, w.gap_events";

/// What stored secrets are bound to; one form at a time in a whole database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Webhook and column: while processes of versions live that know no other.
    Webhook,
    /// The origin of the registration's `uri`, too. There is no way back from here.
    Origin,
}

impl Form {
    const fn read(to_origin: bool) -> Self {
        if to_origin { Self::Origin } else { Self::Webhook }
    }

    /// What the secrets of a registration with this `uri` are bound to.
    fn seal(self, id: WebhookId, uri: &str) -> Result<Seal, String> {
        let origin = match self {
            Self::Webhook => None,
            Self::Origin => {
                let target = target::parse(uri).map_err(|reason| format!("uri {reason}"))?;
                Some(target::origin(&target))
            }
        };
        Ok(Seal::new(id, origin))
    }
}

/// A registration as it is stored, decrypted: what changes start from.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) id: WebhookId,
    pub(crate) revision: i64,
    pub(crate) app_id: Option<String>,
    pub(crate) user_id: String,
    pub(crate) http_method: String,
    pub(crate) uri: String,
    pub(crate) event: EventPattern,
    pub(crate) event_filter: Value,
    pub(crate) user_id_filter: String,
    pub(crate) headers: Option<Headers>,
    pub(crate) auth_method: AuthMethod,
    pub(crate) auth_data: Option<Headers>,
    pub(crate) secrets: Vec<StoredSecret>,
    pub(crate) client_certificate: Option<ClientCertificate>,
    pub(crate) legacy_signature: bool,
    pub(crate) gap_events: bool,
    pub(crate) format: Format,
    pub(crate) status: Status,
    pub(crate) status_since: DateTime<Utc>,
    pub(crate) per_second: Option<u32>,
    pub(crate) burst: Option<u32>,
    pub(crate) max_in_flight: Option<u32>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) ordering: Ordering,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) schedule: Option<Vec<Duration>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// The registry's revision, its row locked: changes have one order.
pub(crate) async fn next_revision(tx: &Transaction<'_>) -> Result<i64, RegistryError> {
    let row = tx
        .query_one(
            "UPDATE openregister_webhooks.registry SET revision = revision + 1, state = gen_random_uuid() RETURNING revision",
            &[],
        )
        .await?;
    Ok(row.get(0))
}

/// Every registration, in one statement: as of one moment.
pub(crate) async fn load<C: tokio_postgres::GenericClient>(
    client: &C,
    vault: &Vault,
    defaults: &Defaults,
    now: i64,
    before: Option<&Snapshot>,
    readings: &Readings,
) -> Result<Snapshot, RegistryError> {
    let sql = format!(
        "SELECT {COLUMNS}, {STAMP}, s.sealed_to_origin \
         FROM openregister_webhooks.settings s, openregister_webhooks.registry r LEFT JOIN openregister_webhooks.webhook w ON true"
    );
    let mut stamp = Stamp::default();
    let (mut all, mut unreadable, mut next_expiry) = (Vec::new(), Vec::new(), None::<i64>);
    let statement = client.prepare(&sql).await?;
    let began = readings.begin();
    let rows = client.query(&statement, &[]).await?;
    let reading = readings.end(began);
    if let Some(row) = rows.first() {
        stamp = Stamp::of(row);
    }
    for row in rows {
        let Some(id) = row.get::<_, Option<i64>>("id").map(WebhookId) else {
            continue;
        };
        let form = Form::read(row.get("sealed_to_origin"));
        match Record::read(&row, id, vault, form).and_then(|record| {
            let ends = record
                .secrets
                .iter()
                .filter_map(|s| s.until)
                .filter(|until| *until > now);
            next_expiry = ends.chain(next_expiry).min();
            record.into_webhook(defaults, now)
        }) {
            Ok(webhook) => all.push(Arc::new(webhook)),
            Err(reason) => {
                unreadable.push((id, reason));
                // Written with a key that this process does not have yet, perhaps: what was known goes on.
                all.extend(before.and_then(|before| before.get(id)).cloned());
            }
        }
    }
    Ok(Snapshot::new((stamp, reading), all, unreadable, next_expiry))
}

/// In which form secrets are stored. In a transaction that has the registry's row locked it stays that.
pub(crate) async fn form(tx: &impl tokio_postgres::GenericClient) -> Result<Form, RegistryError> {
    let row = tx
        .query_one("SELECT sealed_to_origin FROM openregister_webhooks.settings", &[])
        .await?;
    Ok(Form::read(row.get(0)))
}

/// Whether a process lives that reads the first form only.
pub(crate) async fn older_lives(tx: &Transaction<'_>) -> Result<bool, RegistryError> {
    let row = tx
        .query_one(
            "SELECT EXISTS (SELECT FROM openregister_webhooks.worker WHERE sealing < 2 AND alive_until > clock_timestamp())",
            &[],
        )
        .await?;
    Ok(row.get(0))
}

/// Seals every stored secret in the second form; how many registrations there were. One that cannot be read stays as it is, and
/// unreadable.
pub(crate) async fn seal_to_origin(tx: &Transaction<'_>, vault: &Vault) -> Result<usize, RegistryError> {
    let count = reseal(tx, vault, Form::Webhook, Form::Origin, true).await?;
    tx.query("SELECT openregister_webhooks.seal_to_origin()", &[])
        .await?;
    Ok(count)
}

/// Encrypts every stored secret with the key that encrypts now; how many registrations there were.
pub(crate) async fn rotate_key(tx: &Transaction<'_>, vault: &Vault) -> Result<usize, RegistryError> {
    let form = form(tx).await?;
    let count = reseal(tx, vault, form, form, false).await?;
    tx.execute(
        "DELETE FROM openregister_webhooks.master_key WHERE key_id <> $1",
        &[&vault.key_id()],
    )
    .await?;
    Ok(count)
}

/// Seals every stored secret anew. `skip`: what cannot be read is passed over, else nothing is changed for it.
async fn reseal(
    tx: &Transaction<'_>,
    vault: &Vault,
    from: Form,
    to: Form,
    skip: bool,
) -> Result<usize, RegistryError> {
    let rows = tx
        .query(
            "SELECT id, uri, headers, auth_data, secrets, client_certificate FROM openregister_webhooks.webhook FOR UPDATE",
            &[],
        )
        .await?;
    let mut count = 0;
    for row in &rows {
        let id = WebhookId(row.get("id"));
        match resealed(row, id, vault, from, to) {
            Ok([headers, auth_data, secrets, certificate]) => {
                tx.execute(
                    "UPDATE openregister_webhooks.webhook SET headers = $2, auth_data = $3, secrets = $4, client_certificate = $5 \
                     WHERE id = $1",
                    &[&id.0, &headers, &auth_data, &secrets, &certificate],
                )
                .await?;
                count += 1;
            }
            Err(error) if skip => {
                tracing::error!(webhook = %id, error = %crate::error_text::chain(&error), "the secrets of a registration cannot be read: remove it and register it again");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// The secrets of a row, sealed anew, in the order of their columns.
fn resealed(
    row: &Row,
    id: WebhookId,
    vault: &Vault,
    from: Form,
    to: Form,
) -> Result<[Option<Vec<u8>>; 4], RegistryError> {
    let unreadable = |reason| RegistryError::Unreadable { id, reason };
    let uri: &str = row.get("uri");
    let (from, to) = (
        from.seal(id, uri).map_err(unreadable)?,
        to.seal(id, uri).map_err(unreadable)?,
    );
    let again = |column, field| -> Result<Option<Vec<u8>>, RegistryError> {
        let Some(stored) = row.get::<_, Option<&[u8]>>(column) else {
            return Ok(None);
        };
        Ok(Some(vault.seal(
            &to,
            field,
            &vault.open(&from, field, stored)?,
        )?))
    };
    Ok([
        again("headers", Field::Headers)?,
        again("auth_data", Field::AuthData)?,
        again("secrets", Field::Secrets)?,
        again("client_certificate", Field::ClientCertificate)?,
    ])
}

/// One registration, its row locked.
pub(crate) async fn lock(
    tx: &Transaction<'_>,
    vault: &Vault,
    id: WebhookId,
) -> Result<Option<Record>, RegistryError> {
    let sql = format!("SELECT {COLUMNS} FROM openregister_webhooks.webhook w WHERE w.id = $1 FOR UPDATE");
    let Some(row) = tx.query_opt(&sql, &[&id.0]).await? else {
        return Ok(None);
    };
    Record::read(&row, id, vault, form(tx).await?)
        .map(Some)
        .map_err(|reason| RegistryError::Unreadable { id, reason })
}

/// How many webhooks there may be: every process has all of them in memory, and asks each about every event.
pub(crate) const MOST_WEBHOOKS: i64 = 10_000;

/// A row of its own for a new registration: the id that its ciphertexts are bound to. Under the lock of the revision.
pub(crate) async fn reserve(tx: &Transaction<'_>, revision: i64) -> Result<WebhookId, RegistryError> {
    let count: i64 = tx
        .query_one("SELECT count(*) FROM openregister_webhooks.webhook", &[])
        .await?
        .get(0);
    if count >= MOST_WEBHOOKS {
        return Err(Refused::TooMany(count).into());
    }
    let row = tx
        .query_one(
            "INSERT INTO openregister_webhooks.webhook (revision, user_id, http_method, uri, event, classes) \
             VALUES ($1, '', '', '', '', '{}') RETURNING id",
            &[&revision],
        )
        .await?;
    Ok(WebhookId(row.get(0)))
}

/// Writes a registration into its row.
pub(crate) async fn write(
    tx: &Transaction<'_>,
    vault: &Vault,
    record: &Record,
    revision: i64,
) -> Result<(), RegistryError> {
    let id = record.id;
    let place = form(tx)
        .await?
        .seal(id, &record.uri)
        .map_err(|reason| RegistryError::Unreadable { id, reason })?;
    let seal = |field, headers: &Option<Headers>| {
        headers
            .as_ref()
            .map(|headers| vault.seal(&place, field, headers_to_text(headers).as_bytes()))
            .transpose()
    };
    let headers = seal(Field::Headers, &record.headers)?;
    let auth_data = seal(Field::AuthData, &record.auth_data)?;
    let secrets = vault.seal(
        &place,
        Field::Secrets,
        secret::to_text(&record.secrets).as_bytes(),
    )?;
    let certificate = record
        .client_certificate
        .as_ref()
        .map(|certificate| {
            vault.seal(
                &place,
                Field::ClientCertificate,
                certificate.pem().expose_secret().as_bytes(),
            )
        })
        .transpose()?;
    let classes: Vec<String> = record.event.classes().iter().map(ToString::to_string).collect();
    let (status, reason) = match &record.status {
        Status::Enabled => ("enabled", None),
        Status::Paused => ("paused", None),
        Status::Disabled { reason, .. } => ("disabled", Some(reason.as_str())),
    };
    let whole = |number: Option<u32>| number.map(|n| i32::try_from(n).unwrap_or(i32::MAX));
    let millis = |duration: &Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let timeout = record
        .timeout
        .map(|t| i32::try_from(t.as_millis()).unwrap_or(i32::MAX));
    let schedule: Option<Vec<i64>> = record.schedule.as_ref().map(|s| s.iter().map(millis).collect());
    tx.execute(
        "UPDATE openregister_webhooks.webhook SET revision = $2, app_id = $3, user_id = $4, http_method = $5, \
         uri = $6, event = $7, classes = $8, event_filter = $9, user_id_filter = $10, headers = $11, \
         auth_method = $12, auth_data = $13, secrets = $14, format = $15, status = $16, status_reason = $17, \
         status_since = $18, per_second = $19, burst = $20, max_in_flight = $21, timeout_ms = $22, ordering = $23, \
         max_attempts = $24, schedule = $25, client_certificate = $26, legacy_signature = $27, gap_events = $28, \
         updated_at = now() WHERE id = $1",
        &[
            &record.id.0,
            &revision,
            &record.app_id,
            &record.user_id,
            &record.http_method,
            &record.uri,
            &record.event.as_str(),
            &classes,
            &record.event_filter.to_string(),
            &record.user_id_filter,
            &headers,
            &record.auth_method.as_str(),
            &auth_data,
            &secrets,
            &record.format.as_str(),
            &status,
            &reason,
            &record.status_since,
            &whole(record.per_second),
            &whole(record.burst),
            &whole(record.max_in_flight),
            &timeout,
            &record.ordering.as_str(),
            &whole(record.max_attempts),
            &schedule,
            &certificate,
            &record.legacy_signature,
            &record.gap_events,
        ],
    )
    .await?;
    Ok(())
}

/// Who changes what: a row of the audit table, in the change's own transaction.
pub(crate) async fn audit(
    tx: &Transaction<'_>,
    by: &super::Caller,
    action: &str,
    id: WebhookId,
    detail: &Value,
) -> Result<(), RegistryError> {
    tx.execute(
        "INSERT INTO openregister_webhooks.audit (who, client, action, webhook_id, detail) VALUES ($1, $2, $3, $4, $5)",
        &[&by.user, &by.client, &action, &id.0, &detail.to_string()],
    )
    .await?;
    Ok(())
}

impl Record {
    /// A row as it is stored; the error says what is wrong with it.
    fn read(row: &Row, id: WebhookId, vault: &Vault, form: Form) -> Result<Self, String> {
        let place = form.seal(id, row.get("uri"))?;
        let named = |column: &str| format!("column {column} holds an unknown value");
        let open = |column, field| -> Result<Option<Zeroizing<String>>, String> {
            let Some(stored) = row.get::<_, Option<&[u8]>>(column) else {
                return Ok(None);
            };
            let plain = vault
                .open(&place, field, stored)
                .map_err(|error| error.to_string())?;
            let text = std::str::from_utf8(&plain).map_err(|error| error.to_string())?;
            Ok(Some(Zeroizing::new(text.to_owned())))
        };
        let headers = |column, field| {
            open(column, field)?
                .map(|text| headers_from_text(&text).ok_or_else(|| named(column)))
                .transpose()
        };
        let since: DateTime<Utc> = row.get("status_since");
        let number = |column: &str| {
            row.get::<_, Option<i32>>(column)
                .and_then(|n| u32::try_from(n).ok())
        };
        let millis = |ms: i64| Duration::from_millis(ms.try_into().unwrap_or(0));
        Ok(Self {
            id,
            revision: row.get("revision"),
            app_id: row.get("app_id"),
            user_id: row.get("user_id"),
            http_method: row.get("http_method"),
            uri: row.get("uri"),
            event: EventPattern::parse(row.get("event")).map_err(|error| error.to_string())?,
            event_filter: orw_model::json::parse(row.get("event_filter"))
                .map_err(|error| error.to_string())?,
            user_id_filter: row.get("user_id_filter"),
            headers: headers("headers", Field::Headers)?,
            auth_method: AuthMethod::parse(row.get("auth_method")).ok_or_else(|| named("auth_method"))?,
            auth_data: headers("auth_data", Field::AuthData)?,
            secrets: open("secrets", Field::Secrets)?
                .map(|text| secret::from_text(&text))
                .transpose()?
                .unwrap_or_default(),
            client_certificate: open("client_certificate", Field::ClientCertificate)?
                .map(|pem| certificate::from_stored(&pem))
                .transpose()?,
            legacy_signature: row.get("legacy_signature"),
            gap_events: row.get("gap_events"),
            format: Format::parse(row.get("format")).ok_or_else(|| named("format"))?,
            status: match row.get("status") {
                "enabled" => Status::Enabled,
                "paused" => Status::Paused,
                _ => Status::Disabled {
                    reason: row.get::<_, Option<String>>("status_reason").unwrap_or_default(),
                    since,
                },
            },
            status_since: since,
            per_second: number("per_second"),
            burst: number("burst"),
            max_in_flight: number("max_in_flight"),
            timeout: row
                .get::<_, Option<i32>>("timeout_ms")
                .map(|ms| millis(ms.into())),
            ordering: Ordering::parse(row.get("ordering")).ok_or_else(|| named("ordering"))?,
            max_attempts: number("max_attempts"),
            schedule: row
                .get::<_, Option<Vec<i64>>>("schedule")
                .map(|list| list.into_iter().map(millis).collect()),
            created_at: row.get("created_at"),
            updated_at: row.get("updated_at"),
        })
    }

    /// The webhook that this makes, with the signing secrets that are in force `now` (seconds since 1970).
    pub(crate) fn into_webhook(self, defaults: &Defaults, now: i64) -> Result<Webhook, String> {
        let default = &defaults.limits;
        let at_least_one = |number: Option<u32>, default: u32| number.unwrap_or(default).max(1);
        let limits = Limits {
            per_second: at_least_one(self.per_second, default.per_second),
            burst: at_least_one(self.burst, default.burst),
            max_in_flight: at_least_one(self.max_in_flight, default.max_in_flight),
            timeout: self.timeout.filter(|t| !t.is_zero()).unwrap_or(default.timeout),
        };
        let auth_data_set = self.auth_data.is_some();
        Ok(Webhook {
            id: self.id,
            revision: self.revision,
            app_id: self.app_id,
            user_id: self.user_id,
            method: HttpMethod::parse(&self.http_method.to_ascii_uppercase())
                .ok_or("column http_method holds an unknown value")?,
            http_method: self.http_method,
            target: target::parse(&self.uri).map_err(|reason| format!("uri {reason}"))?,
            uri: self.uri,
            event: self.event,
            filter: Arc::new(
                Filter::parse(&self.event_filter).map_err(|error| format!("eventFilter {error}"))?,
            ),
            event_filter: self.event_filter,
            user_id_filter: Some(self.user_id_filter).filter(|user| !user.is_empty()),
            headers: self.headers,
            auth: match self.auth_method {
                AuthMethod::None => Auth::None,
                AuthMethod::Header => Auth::Header(self.auth_data.unwrap_or_default()),
            },
            auth_data_set,
            format: self.format,
            secrets: self
                .secrets
                .into_iter()
                .filter(|stored| stored.until.is_none_or(|until| until > now))
                .map(|stored| stored.secret)
                .collect(),
            client_certificate: self.client_certificate.map(Arc::new),
            legacy_signature: self.legacy_signature,
            gap_events: self.gap_events,
            status: self.status,
            limits,
            ordering: self.ordering,
            retry: defaults.retry(self.max_attempts, self.schedule),
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

fn headers_to_text(headers: &Headers) -> Zeroizing<String> {
    let map: Map<String, Value> = headers
        .iter()
        .map(|(name, value)| (name.clone(), value.expose_secret().into()))
        .collect();
    Zeroizing::new(Value::Object(map).to_string())
}

fn headers_from_text(text: &str) -> Option<Headers> {
    let map = orw_model::json::parse_object(text).ok()?;
    map.into_iter()
        .map(|(name, value)| match value {
            Value::String(text) => Some((name, SecretString::from(text))),
            _ => None,
        })
        .collect()
}
