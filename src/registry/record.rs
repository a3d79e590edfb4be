//! A registration as it is stored, and the webhook that it makes.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use orw_egress::ClientCertificate;
use orw_filter::Filter;
use serde_json::Value;

use super::body::BodyOptions;
use super::defaults::Defaults;
use super::error::RegistryError;
use super::event_pattern::EventPattern;
use super::fields::InvalidField;
use super::format::{DataMode, Format};
use super::handshake::Handshake;
use super::headers::Headers;
use super::jwt::JwtCredentials;
use super::secret::StoredSecret;
use super::target;
use super::webhook::{Auth, AuthMethod, HttpMethod, Limits, Ordering, Status, Webhook, WebhookId};

/// A registration as it is stored, decrypted: what changes start from.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) id: WebhookId,
    pub(super) revision: i64,
    pub(super) app_id: Option<String>,
    pub(super) user_id: String,
    pub(super) http_method: String,
    pub(super) uri: String,
    pub(super) event: EventPattern,
    pub(super) event_filter: Value,
    pub(super) user_id_filter: String,
    pub(super) headers: Option<Headers>,
    pub(super) auth_method: AuthMethod,
    pub(super) auth_data: Option<Headers>,
    pub(super) token_needed: Value,
    pub(super) secrets: Vec<StoredSecret>,
    pub(super) client_certificate: Option<ClientCertificate>,
    pub(super) legacy_signature: bool,
    pub(super) gap_events: bool,
    pub(super) handshake: Option<Handshake>,
    pub(super) format: Format,
    pub(super) data_mode: DataMode,
    pub(super) options: BodyOptions,
    pub(super) status: Status,
    pub(super) status_since: DateTime<Utc>,
    pub(super) per_second: Option<u32>,
    pub(super) burst: Option<u32>,
    pub(super) max_in_flight: Option<u32>,
    pub(super) timeout: Option<Duration>,
    pub(super) ordering: Ordering,
    pub(super) max_attempts: Option<u32>,
    pub(super) schedule: Option<Vec<Duration>>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

impl Record {
    /// An error if it is not of this revision, that is, if it was changed since somebody read it.
    pub(super) fn must_be_of(&self, revision: i64) -> Result<(), RegistryError> {
        if self.revision == revision {
            Ok(())
        } else {
            Err(RegistryError::Changed(self.id))
        }
    }

    /// When the first of its signing secrets ends that does, after `now` (seconds since 1970).
    pub(super) fn next_expiry(&self, now: i64) -> Option<i64> {
        let ends = self.secrets.iter().filter_map(|secret| secret.until);
        ends.filter(|until| *until > now).min()
    }

    /// Whether its format can render what it is registered for.
    pub(super) fn check(&self, defaults: &Defaults) -> Result<(), InvalidField> {
        let shape = (self.format, self.data_mode);
        self.options
            .check(shape, &self.event, self.gap_events, &defaults.source)
    }

    /// The webhook that this makes, with the signing secrets that are in force `now` (seconds since 1970).
    pub(super) fn into_webhook(self, defaults: &Defaults, now: i64) -> Result<Webhook, String> {
        let default = &defaults.limits;
        let at_least_one = |number: Option<u32>, default: u32| number.unwrap_or(default).max(1);
        let limits = Limits {
            per_second: at_least_one(self.per_second, default.per_second),
            burst: at_least_one(self.burst, default.burst),
            max_in_flight: at_least_one(self.max_in_flight, default.max_in_flight),
            timeout: self.timeout.unwrap_or(default.timeout),
            per_minute: self.handshake.as_ref().and_then(|made| made.allowed_rate),
        };
        let auth_data_set = self.auth_data.is_some();
        Ok(Webhook {
            id: self.id,
            revision: self.revision,
            app_id: self.app_id,
            user_id: self.user_id,
            method: HttpMethod::parse(&self.http_method.to_ascii_uppercase()).ok_or_else(|| {
                format!(
                    "column http_method holds {:?}, which is no HTTP method",
                    self.http_method
                )
            })?,
            http_method: self.http_method,
            target: target::parse(&self.uri).map_err(|reason| format!("column uri {reason}"))?,
            uri: self.uri,
            event: self.event,
            filter: Arc::new(
                Filter::parse(&self.event_filter).map_err(|error| format!("column event_filter: {error}"))?,
            ),
            event_filter: self.event_filter,
            user_id_filter: Some(self.user_id_filter).filter(|user| !user.is_empty()),
            headers: self.headers,
            auth: match self.auth_method {
                AuthMethod::None => Auth::None,
                AuthMethod::Header => Auth::Header(self.auth_data.unwrap_or_default()),
                AuthMethod::Jwt => Auth::Jwt(JwtCredentials::of(&self.auth_data.unwrap_or_default())?),
            },
            auth_data_set,
            token_needed: self.token_needed,
            format: self.format,
            data_mode: self.data_mode,
            options: self.options,
            source: defaults.source.clone(),
            secrets: self
                .secrets
                .into_iter()
                .filter(|stored| stored.until.is_none_or(|until| until > now))
                .map(|stored| stored.secret)
                .collect(),
            client_certificate: self.client_certificate.map(Arc::new),
            legacy_signature: self.legacy_signature,
            gap_events: self.gap_events,
            handshake: self.handshake,
            status: self.status,
            limits,
            ordering: self.ordering,
            retry: defaults.retry(self.max_attempts, self.schedule),
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}
