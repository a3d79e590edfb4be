//! A row of the table `webhook`: the one place that reads its columns, and the one that writes them.
//!
//! Guarantees: a column that cannot be read is an error that names the column and, where it is no secret, the value.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Transaction};
use zeroize::Zeroizing;

use super::body::BodyOptions;
use super::certificate;
use super::error::RegistryError;
use super::event_pattern::EventPattern;
use super::format::{DataMode, Format};
use super::handshake::Handshake;
use super::headers::Headers;
use super::record::Record;
use super::sealing::{self, Form};
use super::secret;
use super::vault::{Field, Vault};
use super::webhook::{AuthMethod, Ordering, Status, WebhookId};

/// What [`read`] needs, of the table `webhook w`.
pub(super) const COLUMNS: &str = "w.id, w.revision, w.app_id, w.user_id, w.http_method, w.uri, w.event, w.event_filter, \
     w.user_id_filter, w.headers, w.auth_method, w.auth_data, w.secrets, w.format, w.status, w.status_reason, \
     w.status_since, w.per_second, w.burst, w.max_in_flight, w.timeout_ms, w.ordering, w.max_attempts, w.schedule, \
     w.created_at, w.updated_at, w.client_certificate, w.legacy_signature, w.gap_events, w.token_needed, w.data_mode, w.format_options, w.handshake";

/// Reads a row as it is stored in this form.
///
/// # Errors
/// Which column is wrong, and what is wrong with it.
pub(super) fn read(row: &Row, id: WebhookId, vault: &Vault, form: Form) -> Result<Record, String> {
    let seal = form.seal(id, row.get("uri"))?;
    let open = |column, field| -> Result<Option<Zeroizing<String>>, String> {
        let Some(stored) = row.get::<_, Option<&[u8]>>(column) else {
            return Ok(None);
        };
        let plain = vault
            .open(&seal, field, stored)
            .map_err(|error| error.to_string())?;
        let text = std::str::from_utf8(&plain).map_err(|error| format!("column {column}: {error}"))?;
        Ok(Some(Zeroizing::new(text.to_owned())))
    };
    let headers = |column, field| {
        open(column, field)?
            .map(|text| {
                headers_from_text(&text)
                    .ok_or_else(|| format!("column {column} is no list of headers (its value is a secret)"))
            })
            .transpose()
    };
    let number = |column: &str| positive(column, row.get::<_, Option<i32>>(column).map(i64::from));
    Ok(Record {
        id,
        revision: row.get("revision"),
        app_id: row.get("app_id"),
        user_id: row.get("user_id"),
        http_method: row.get("http_method"),
        uri: row.get("uri"),
        event: EventPattern::parse(row.get("event"))
            .map_err(|error| format!("column event: {}", error.reason))?,
        event_filter: orw_model::json::parse(row.get("event_filter"))
            .map_err(|error| format!("column event_filter: {error}"))?,
        user_id_filter: row.get("user_id_filter"),
        headers: headers("headers", Field::Headers)?,
        auth_method: named("auth_method", row.get("auth_method"), AuthMethod::parse)?,
        auth_data: headers("auth_data", Field::AuthData)?,
        token_needed: orw_model::json::parse(row.get("token_needed"))
            .map_err(|error| format!("column token_needed: {error}"))?,
        secrets: open("secrets", Field::Secrets)?
            .map(|text| secret::from_text(&text))
            .transpose()
            .map_err(|reason| format!("column secrets: {reason}"))?
            .unwrap_or_default(),
        client_certificate: open("client_certificate", Field::ClientCertificate)?
            .map(|pem| certificate::from_stored(&pem))
            .transpose()
            .map_err(|reason| format!("column client_certificate: {reason}"))?,
        legacy_signature: row.get("legacy_signature"),
        gap_events: row.get("gap_events"),
        handshake: row
            .get::<_, Option<&str>>("handshake")
            .map(Handshake::from_text)
            .transpose()
            .map_err(|reason| format!("column handshake: {reason}"))?,
        format: named("format", row.get("format"), Format::parse)?,
        data_mode: named("data_mode", row.get("data_mode"), DataMode::parse)?,
        options: row
            .get::<_, Option<&str>>("format_options")
            .map(BodyOptions::from_text)
            .transpose()
            .map_err(|reason| format!("column format_options: {reason}"))?
            .unwrap_or_default(),
        status: status(row)?,
        status_since: row.get("status_since"),
        per_second: number("per_second")?.map(whole),
        burst: number("burst")?.map(whole),
        max_in_flight: number("max_in_flight")?.map(whole),
        timeout: number("timeout_ms")?.map(Duration::from_millis),
        ordering: named("ordering", row.get("ordering"), Ordering::parse)?,
        max_attempts: number("max_attempts")?.map(whole),
        schedule: row
            .get::<_, Option<Vec<i64>>>("schedule")
            .map(|delays| delays.into_iter().map(delay).collect::<Result<_, _>>())
            .transpose()?,
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    })
}

fn status(row: &Row) -> Result<Status, String> {
    let since: DateTime<Utc> = row.get("status_since");
    named("status", row.get("status"), |name| match name {
        "enabled" => Some(Status::Enabled),
        "paused" => Some(Status::Paused),
        "disabled" => Some(Status::Disabled {
            // A reason is for people: there need not be one.
            reason: row.get::<_, Option<String>>("status_reason").unwrap_or_default(),
            since,
        }),
        _ => None,
    })
}

/// One of the names that a column may hold.
pub(super) fn named<T>(
    column: &str,
    value: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, String> {
    parse(value).ok_or_else(|| format!("column {column} holds {value:?}, which this version does not know"))
}

/// A number from 1, where there is one.
fn positive(column: &str, value: Option<i64>) -> Result<Option<u64>, String> {
    value
        .map(|number| {
            u64::try_from(number)
                .ok()
                .filter(|number| *number > 0)
                .ok_or_else(|| format!("column {column} holds {number}, and must be 1 or more"))
        })
        .transpose()
}

/// A delay in milliseconds.
fn delay(milliseconds: i64) -> Result<Duration, String> {
    u64::try_from(milliseconds)
        .map(Duration::from_millis)
        .map_err(|_| format!("column schedule holds {milliseconds}, and a delay must not be negative"))
}

/// The number of a column that PostgreSQL keeps in 31 bits.
fn whole(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Writes a registration into its row.
///
/// # Errors
/// Where its secrets cannot be sealed, or the query fails.
pub(super) async fn write(
    tx: &Transaction<'_>,
    vault: &Vault,
    record: &Record,
    revision: i64,
) -> Result<(), RegistryError> {
    let form = sealing::form(tx).await?;
    let [headers, auth_data, secrets, certificate] = seal_secrets(vault, record, form)?;
    let classes: Vec<String> = record.event.classes().iter().map(ToString::to_string).collect();
    let (status, reason) = match &record.status {
        Status::Enabled => ("enabled", None),
        Status::Paused => ("paused", None),
        Status::Disabled { reason, .. } => ("disabled", Some(reason.as_str())),
    };
    let number = |number: Option<u32>| number.map(|n| i32::try_from(n).unwrap_or(i32::MAX));
    let millis = |duration: &Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let timeout = record
        .timeout
        .map(|t| i32::try_from(t.as_millis()).unwrap_or(i32::MAX));
    let schedule: Option<Vec<i64>> = record.schedule.as_ref().map(|s| s.iter().map(millis).collect());
    let (per_second, burst) = (number(record.per_second), number(record.burst));
    let (max_in_flight, max_attempts) = (number(record.max_in_flight), number(record.max_attempts));
    let event_filter = record.event_filter.to_string();
    let token_needed = record.token_needed.to_string();
    let format_options = record.options.to_text();
    let handshake = record.handshake.as_ref().map(|made| made.shown().to_string());
    // `id` and `created_at` stay as they are; `updated_at` is this transaction's time.
    let columns: [(&str, &(dyn ToSql + Sync)); 31] = [
        ("revision", &revision),
        ("app_id", &record.app_id),
        ("user_id", &record.user_id),
        ("http_method", &record.http_method),
        ("uri", &record.uri),
        ("event", &record.event.as_str()),
        ("classes", &classes),
        ("event_filter", &event_filter),
        ("user_id_filter", &record.user_id_filter),
        ("headers", &headers),
        ("auth_method", &record.auth_method.as_str()),
        ("auth_data", &auth_data),
        ("secrets", &secrets),
        ("format", &record.format.as_str()),
        ("data_mode", &record.data_mode.as_str()),
        ("format_options", &format_options),
        ("handshake", &handshake),
        ("status", &status),
        ("status_reason", &reason),
        ("status_since", &record.status_since),
        ("per_second", &per_second),
        ("burst", &burst),
        ("max_in_flight", &max_in_flight),
        ("timeout_ms", &timeout),
        ("ordering", &record.ordering.as_str()),
        ("max_attempts", &max_attempts),
        ("schedule", &schedule),
        ("client_certificate", &certificate),
        ("legacy_signature", &record.legacy_signature),
        ("gap_events", &record.gap_events),
        ("token_needed", &token_needed),
    ];
    let assignments: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(at, (column, _))| format!("{column} = ${}", at + 2))
        .collect();
    let sql = format!(
        "UPDATE openregister_webhooks.webhook SET {}, updated_at = now() WHERE id = $1",
        assignments.join(", ")
    );
    let id: &(dyn ToSql + Sync) = &record.id.0;
    let values: Vec<_> = std::iter::once(id)
        .chain(columns.iter().map(|(_, value)| *value))
        .collect();
    tx.execute(&sql, &values).await?;
    Ok(())
}

/// `headers`, `auth_data`, `secrets` and `client_certificate`, encrypted.
fn seal_secrets(vault: &Vault, record: &Record, form: Form) -> Result<[Option<Vec<u8>>; 4], RegistryError> {
    let id = record.id;
    let seal = form
        .seal(id, &record.uri)
        .map_err(|reason| RegistryError::Unreadable { id, reason })?;
    let headers = |field, headers: &Option<Headers>| {
        headers
            .as_ref()
            .map(|headers| vault.seal(&seal, field, headers_to_text(headers).as_bytes()))
            .transpose()
    };
    let secrets = secret::to_text(&record.secrets);
    let certificate = record
        .client_certificate
        .as_ref()
        .map(|certificate| {
            vault.seal(
                &seal,
                Field::ClientCertificate,
                certificate.pem().expose_secret().as_bytes(),
            )
        })
        .transpose()?;
    Ok([
        headers(Field::Headers, &record.headers)?,
        headers(Field::AuthData, &record.auth_data)?,
        Some(vault.seal(&seal, Field::Secrets, secrets.as_bytes())?),
        certificate,
    ])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_column_cannot_mean_is_an_error_that_names_it() {
        assert_eq!(named("format", "nextcloud", Format::parse), Ok(Format::Nextcloud));
        let error = named("format", "csv", Format::parse).unwrap_err();
        assert_eq!(
            error,
            "column format holds \"csv\", which this version does not know"
        );
        assert_eq!(positive("burst", None), Ok(None));
        assert_eq!(positive("burst", Some(7)), Ok(Some(7)));
        for wrong in [0, -1] {
            let error = positive("burst", Some(wrong)).unwrap_err();
            assert_eq!(
                error,
                format!("column burst holds {wrong}, and must be 1 or more")
            );
        }
        assert_eq!(delay(0), Ok(Duration::ZERO));
        assert!(delay(-5).unwrap_err().contains("column schedule holds -5"));
    }
}
