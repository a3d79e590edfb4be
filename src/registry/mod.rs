//! Registry: the registered webhooks, their filters compiled, their secrets encrypted at rest.
//!
//! Guarantees: a [`Webhook`] in memory is valid in every field; a change made by any process is seen by every process
//! within a second; secrets are in clear in memory only and in no `Debug`, error or log.

mod webhook;

pub use webhook::{
    Auth, EventPattern, Format, HttpMethod, InvalidField, Limits, Ordering, RetryPolicy, Status, Webhook,
    WebhookId,
};
