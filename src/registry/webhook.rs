//! One registered webhook, valid in every field.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hyper::Uri;
use orw_egress::ClientCertificate;
use secrecy::SecretString;
use serde_json::Value;

use super::body::{BodyOptions, EventSource};
use super::event_pattern::EventPattern;
use super::format::{DataMode, Format};
use super::handshake::Handshake;
use super::jwt::JwtCredentials;
use super::names::names;
use crate::template::Template;
use orw_filter::Filter;
use orw_model::EntityKind;

/// Ids start at 1,000,000,000, so that they never meet Nextcloud's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WebhookId(pub i64);

impl WebhookId {
    pub const FIRST: i64 = 1_000_000_000;
}

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Every method carries the JSON body, as Nextcloud does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMethod {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

names!(HttpMethod { Get = "GET", Post = "POST", Put = "PUT", Patch = "PATCH", Delete = "DELETE" });

/// `authMethod`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthMethod {
    #[default]
    None,
    Header,
    Jwt,
}

names!(AuthMethod { None = "none", Header = "header", Jwt = "jwt" });

/// `authMethod` and `authData`.
#[derive(Debug, Clone, Default)]
pub enum Auth {
    #[default]
    None,
    /// Headers that are added to every request.
    Header(Vec<(String, SecretString)>),
    /// A token that is made for every request.
    Jwt(JwtCredentials),
}

impl Auth {
    /// The method, and the names that `authData` has.
    #[must_use]
    pub fn stored(&self) -> (AuthMethod, Vec<&str>) {
        match self {
            Self::None => (AuthMethod::None, Vec::new()),
            Self::Header(pairs) => (
                AuthMethod::Header,
                pairs.iter().map(|(name, _)| name.as_str()).collect(),
            ),
            Self::Jwt(credentials) => (AuthMethod::Jwt, credentials.names()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    Enabled,
    /// Goes on collecting, delivers nothing.
    Paused,
    /// Collects nothing new, keeps what is pending.
    Disabled {
        reason: String,
        since: DateTime<Utc>,
    },
}

impl Status {
    /// As the database, the API and the command line write it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Paused => "paused",
            Self::Disabled { .. } => "disabled",
        }
    }
}

/// Whether the events of one object wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ordering {
    #[default]
    Object,
    None,
}

names!(Ordering { Object = "object", None = "none" });

/// Limits of one webhook; each is at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub per_second: u32,
    pub burst: u32,
    pub max_in_flight: u32,
    /// For the whole request.
    pub timeout: Duration,
    /// What the receiver allowed in a handshake, if it is less than the rest.
    pub per_minute: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_second: 100,
            burst: 200,
            max_in_flight: 16,
            timeout: Duration::from_secs(15),
            per_minute: None,
        }
    }
}

/// When a failed delivery is tried again: the delay after attempt n is `schedule[n - 1]` (the last repeats), until
/// `max_attempts` were made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    pub max_attempts: u32,
    pub schedule: Vec<Duration>,
}

impl Default for RetryPolicy {
    /// 5 s, 30 s, 2 min, 10 min, 1 h, 3 h, 6 h, 12 h, 24 h, 24 h: the first attempt and ten retries.
    fn default() -> Self {
        let schedule = [5, 30, 120, 600, 3_600, 10_800, 21_600, 43_200, 86_400, 86_400]
            .map(Duration::from_secs)
            .to_vec();
        Self {
            max_attempts: 11,
            schedule,
        }
    }
}

/// A registered webhook.
#[derive(Debug, Clone)]
pub struct Webhook {
    pub id: WebhookId,
    /// Grows with every change of the registration.
    pub revision: i64,
    pub app_id: Option<String>,
    /// The caller who registered it.
    pub user_id: String,
    pub method: HttpMethod,
    /// `httpMethod` as it was sent: Nextcloud takes `post` and answers `post`.
    pub http_method: String,
    /// As it was registered, with umlauts and all; what is connected to is [`Self::target`].
    pub uri: String,
    /// The same in ASCII: host in punycode, path and query percent-encoded, without fragment.
    pub target: Uri,
    pub event: EventPattern,
    /// As it was registered; `[]` or `{}` where there is none.
    pub event_filter: Value,
    /// The same, ready to be evaluated.
    pub filter: Arc<Filter>,
    pub user_id_filter: Option<String>,
    /// Headers that are sent, in the order given; `None` where none were given.
    pub headers: Option<Vec<(String, SecretString)>>,
    pub auth: Auth,
    /// Whether `authData` is stored: it outlives an update to `authMethod: none`, as in Nextcloud.
    pub auth_data_set: bool,
    /// `tokenNeeded` as it was sent; it asks for no token.
    pub token_needed: Value,
    pub format: Format,
    pub data_mode: DataMode,
    pub options: BodyOptions,
    /// Who sends CloudEvents.
    pub source: EventSource,
    /// The signing secrets in force, `whsec_…`, newest first; several while one is being rotated.
    pub secrets: Vec<SecretString>,
    /// What is shown to a receiver that demands a certificate; only where [`Self::target`] is `https`.
    pub client_certificate: Option<Arc<ClientCertificate>>,
    /// Whether requests carry `X-Webhook-Signature` too.
    pub legacy_signature: bool,
    /// Whether it is told of gaps in capture; see [`Self::hears_of_gaps`].
    pub gap_events: bool,
    /// What the receiver has allowed, if it was asked.
    pub handshake: Option<Handshake>,
    pub status: Status,
    pub limits: Limits,
    pub ordering: Ordering,
    pub retry: RetryPolicy,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Webhook {
    /// Whether new events are collected for it: always, unless it is disabled.
    #[must_use]
    pub const fn collects(&self) -> bool {
        !matches!(self.status, Status::Disabled { .. })
    }

    /// The same webhook with this template instead of its format, to try the template with.
    #[must_use]
    pub fn with_template(&self, template: Template) -> Self {
        let mut webhook = self.clone();
        webhook.format = Format::Template;
        webhook.options.template = Some(template);
        webhook
    }

    /// Whether its body names the user, if the user is known.
    #[must_use]
    pub fn shows_user(&self) -> bool {
        self.data_mode == DataMode::Full
            && match self.format {
                Format::Nextcloud => true,
                Format::Template => self.options.template.as_ref().is_some_and(Template::names_user),
                _ => false,
            }
    }

    /// Whether it is told where events of this kind may be missing: it asked for it, and is registered for such events.
    #[must_use]
    pub fn hears_of_gaps(&self, kind: EntityKind) -> bool {
        self.gap_events && self.event.classes().iter().any(|class| class.kind() == kind)
    }
}
