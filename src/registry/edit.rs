//! What a request changes of a stored registration.

use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use orw_egress::ClientCertificate;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::audit::Caller;
use super::certificate::CertificateChoice;
use super::error::Refused;
use super::fields::{InvalidField, invalid};
use super::handshake::{Handshake, HandshakeChoice};
use super::headers::{Headers, MASK, looks_secret, unmask};
use super::record::Record;
use super::registration::Registration;
use super::target;
use super::webhook::{AuthMethod, Status};

/// Puts what a request asks for into a record. `headers`, `authData`, the app and our own fields stay where it leaves
/// them out; the others take their defaults.
pub(super) fn apply(
    record: &mut Record,
    asked: Registration,
    by: &Caller,
    time: DateTime<Utc>,
) -> Result<(), Refused> {
    if moves(record, &asked) {
        leave_credentials(record, &asked)?;
    }
    record.user_id.clone_from(&by.user);
    if by.app_id.is_some() {
        record.app_id.clone_from(&by.app_id);
    }
    record.http_method = asked.http_method;
    let other_target = target::parse(&record.uri).is_ok_and(|before| before != asked.target);
    record.uri = asked.uri;
    record.event = asked.event;
    record.event_filter = asked.event_filter;
    record.user_id_filter = asked.user_id_filter;
    let jwt = [record.auth_method, asked.auth_method].map(|method| method == AuthMethod::Jwt);
    if jwt[0] != jwt[1] {
        // What one method stores means something else to the other: a token's secret would become a header.
        record.auth_data = None;
    }
    record.auth_method = asked.auth_method;
    record.token_needed = asked.token_needed;
    if let Some(mut headers) = asked.headers {
        unmask(&mut headers, record.headers.as_ref());
        record.headers = Some(headers);
    }
    if let Some(mut data) = asked.auth_data {
        unmask(&mut data, record.auth_data.as_ref());
        if asked.auth_method == AuthMethod::Jwt
            && let Some((name, _)) = data.iter().find(|(_, value)| value.expose_secret() == MASK)
        {
            let reason = "is masked, and nothing is stored under this name: send it as it is";
            return Err(invalid(format!("authData.{name}"), reason).into());
        }
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
    match extras.handshake {
        Some(HandshakeChoice::Made(made)) => record.handshake = Some(made),
        Some(HandshakeChoice::Remove) => record.handshake = None,
        Some(HandshakeChoice::Ask(_)) => {
            return Err(invalid("handshake", "the receiver was not asked; try again").into());
        }
        None if record.handshake.is_some() && other_target => {
            let reason = "belongs to another uri, and the receiver was not asked again; try again";
            return Err(invalid("handshake", reason).into());
        }
        None => {}
    }
    record.format = extras.format.unwrap_or(record.format);
    record.data_mode = extras.data_mode.unwrap_or(record.data_mode);
    record.options.replace(extras.options);
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
pub(super) fn detail(record: &Record) -> Value {
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
    let [_, zgw, nlgov] = record.options.shown();
    // A template is long: its digest tells one from another.
    let template = record.options.template.as_ref().map(|template| {
        let text = template.text();
        json!({"sha256": HEXLOWER.encode(&Sha256::digest(text)), "length": text.len()})
    });
    json!({
        "template": template,
        "zgw": zgw.1,
        "nlgov": nlgov.1,
        "httpMethod": record.http_method,
        "uri": record.uri,
        "event": record.event.as_str(),
        "eventFilter": record.event_filter,
        "userIdFilter": record.user_id_filter,
        "headers": names(&record.headers),
        "authMethod": record.auth_method.as_str(),
        "format": record.format.as_str(),
        "dataMode": record.data_mode.as_str(),
        "clientCertificate": record.client_certificate.as_ref().map(ClientCertificate::shown_fingerprint),
        "legacySignature": record.legacy_signature,
        "gapEvents": record.gap_events,
        "handshake": record.handshake.as_ref().map(Handshake::shown),
        "status": status,
        "reason": reason,
    })
}
