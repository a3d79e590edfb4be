//! Registry: the registered webhooks, their filters compiled, their secrets encrypted at rest.
//!
//! Guarantees: a [`Webhook`] in memory is valid in every field; a change made by any process is seen by every process
//! within a second; secrets are in clear in memory only and in no `Debug`, error or log. Every change is one
//! transaction with its row in the audit table, and changes have one order, the registry's revision. A database that is restored
//! under a running process counts as it is: what is in memory follows it, also back.

mod advice;
pub(crate) mod audit;
mod body;
mod certificate;
mod change;
mod consent;
mod defaults;
mod edit;
mod error;
mod event_pattern;
mod extras;
mod fields;
mod format;
mod handshake;
mod headers;
mod jwt;
mod live;
pub(crate) mod metrics;
mod names;
mod open_transactions;
mod reading;
mod record;
mod registration;
mod revision;
mod row;
mod sealing;
mod secret;
mod snapshot;
mod store;
mod target;
mod token_needed;
mod vault;
pub(crate) mod view;
mod webhook;

pub use audit::{AuditEntry, Caller};
pub use body::{
    Actie, BodyOptions, ContentMode, EventSource, Filled, LONGEST_KANAAL, LONGEST_RESOURCE, NlGov, NoValue,
    Path, Zgw,
};
pub use certificate::CertificateChoice;
pub use change::Changed;
pub use defaults::Defaults;
pub use error::{Refused, RegistryError};
pub use event_pattern::EventPattern;
pub use extras::{Extras, SecretChoice};
pub use fields::{Fields, InvalidField};
pub use format::{DataMode, Format};
pub use handshake::{Handshake, HandshakeChoice, HandshakeWish};
pub use headers::{MASK, can_be_sent, looks_secret};
pub use jwt::JwtCredentials;
pub use live::Registry;
pub(crate) use reading::STAMP;
pub use registration::Registration;
pub use snapshot::Snapshot;
pub(crate) use target::parse as target;
pub use target::{AnyTarget, TargetPolicy};
pub use vault::{Vault, VaultError};
pub use webhook::{Auth, AuthMethod, HttpMethod, Limits, Ordering, RetryPolicy, Status, Webhook, WebhookId};

pub(crate) use extras::parse_secret;
pub(crate) use store::{count, ids, ordering_of};
