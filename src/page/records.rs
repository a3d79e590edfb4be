//! What the API answers, as types: the page reads the answers of the API's handlers, as every other client does.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ocs::Refusal;

/// Reads an answer of the API.
///
/// # Errors
/// If the answer is not what this version of the page expects; the log says where.
pub(crate) fn read<T: DeserializeOwned>(answer: Value) -> Result<T, Refusal> {
    serde_json::from_value(answer).map_err(|error| {
        tracing::error!(%error, "the page cannot read an answer of the API");
        Refusal::new(500, "An internal error occurred")
    })
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Webhook {
    pub(crate) id: i64,
    pub(crate) app_id: Option<String>,
    pub(crate) user_id: String,
    pub(crate) http_method: String,
    pub(crate) uri: String,
    pub(crate) event: String,
    pub(crate) event_filter: Value,
    pub(crate) user_id_filter: String,
    pub(crate) headers: Value,
    pub(crate) auth_method: String,
    pub(crate) format: String,
    pub(crate) data_mode: String,
    pub(crate) client_certificate: Value,
    pub(crate) legacy_signature: bool,
    pub(crate) gap_events: bool,
    pub(crate) status: Status,
    pub(crate) rate_limit: RateLimit,
    pub(crate) timeout_seconds: f64,
    pub(crate) max_in_flight: u32,
    pub(crate) ordering: String,
    pub(crate) retry: Retry,
    pub(crate) secrets: u32,
    #[serde(default)]
    pub(crate) template: Option<String>,
    #[serde(default)]
    pub(crate) zgw: Value,
    #[serde(default)]
    pub(crate) nlgov: Value,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Status {
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    pub(crate) since: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RateLimit {
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Retry {
    pub(crate) max_attempts: u32,
    pub(crate) schedule: Vec<f64>,
}

impl Retry {
    /// The delays after each attempt that failed, in seconds.
    pub(crate) fn delays(&self) -> String {
        let texts: Vec<String> = self.schedule.iter().map(|delay| format!("{delay} s")).collect();
        texts.join(", ")
    }
}

impl Webhook {
    /// The short name of its event or pattern: without the namespace that all of them share.
    pub(crate) fn short_event(&self) -> &str {
        short_class(&self.event)
    }

    /// Whether it has a filter.
    pub(crate) fn is_filtered(&self) -> bool {
        match &self.event_filter {
            Value::Object(map) => !map.is_empty(),
            Value::Array(list) => !list.is_empty(),
            _ => false,
        }
    }
}

/// A class without the namespace that all of them share.
pub(crate) fn short_class(class: &str) -> &str {
    class.rsplit('\\').next().unwrap_or(class)
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Statistics {
    pub(crate) webhook: i64,
    pub(crate) pending: i64,
    pub(crate) retrying: i64,
    pub(crate) leased: i64,
    pub(crate) oldest_pending: Option<DateTime<Utc>>,
    pub(crate) succeeded: i64,
    pub(crate) given_up: i64,
    pub(crate) failed_attempts: BTreeMap<String, i64>,
    #[serde(rename = "failuresInARow")]
    pub(crate) failures_in_a_row: i32,
    pub(crate) last_success: Option<DateTime<Utc>>,
    pub(crate) last_failure: Option<DateTime<Utc>>,
    pub(crate) last_cause: Option<String>,
    pub(crate) mean_attempt_ms: Option<i64>,
    pub(crate) latency_ms: Option<Latency>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Latency {
    pub(crate) median: i64,
    pub(crate) p99: i64,
}

impl Statistics {
    /// Attempts that failed within the last days.
    pub(crate) fn failed(&self) -> i64 {
        self.failed_attempts.values().sum()
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Delivery {
    pub(crate) id: i64,
    pub(crate) webhook: i64,
    pub(crate) event_id: Option<String>,
    pub(crate) class: Option<String>,
    pub(crate) lane: String,
    pub(crate) state: String,
    pub(crate) reason: String,
    pub(crate) attempts: i32,
    pub(crate) status: Option<i32>,
    pub(crate) cause: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) due_at: Option<DateTime<Utc>>,
    pub(crate) finished_at: Option<DateTime<Utc>>,
}

impl Delivery {
    /// The uuid of the object; of other kinds, which row it is.
    pub(crate) fn subject(&self) -> &str {
        self.lane.strip_prefix("object:").unwrap_or(&self.lane)
    }

    /// The uuid of the object, as the value of a query; `None` if it is not of an object.
    pub(crate) fn object_of_query(&self) -> Option<String> {
        let object = self.lane.strip_prefix("object:")?;
        Some(url::form_urlencoded::byte_serialize(object.as_bytes()).collect())
    }

    pub(crate) fn short_class(&self) -> &str {
        short_class(self.class.as_deref().unwrap_or("—"))
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Deliveries {
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) cursor: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct OneDelivery {
    pub(crate) delivery: Delivery,
    pub(crate) attempts: Vec<Attempt>,
    /// Whether it may be put back into the queue by hand.
    pub(crate) retryable: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attempt {
    pub(crate) number: i32,
    pub(crate) at: DateTime<Utc>,
    pub(crate) duration_ms: i64,
    pub(crate) status: Option<i32>,
    pub(crate) cause: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) headers: Option<Value>,
    pub(crate) response: Option<String>,
    pub(crate) probe: bool,
}

impl Attempt {
    /// The headers of the answer, one a line.
    pub(crate) fn header_lines(&self) -> String {
        header_lines(self.headers.as_ref())
    }
}

/// Headers, one a line.
pub(crate) fn header_lines(headers: Option<&Value>) -> String {
    let mut lines = String::new();
    let mut line = |name: &str, value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        lines.push_str(&format!("{name}: {text}\n"));
    };
    match headers {
        Some(Value::Object(map)) => {
            for (name, value) in map {
                match value {
                    Value::Array(list) => list.iter().for_each(|value| line(name, value)),
                    other => line(name, other),
                }
            }
        }
        Some(Value::Array(list)) => {
            for pair in list {
                match (pair.get(0).and_then(Value::as_str), pair.get(1)) {
                    (Some(name), Some(value)) => line(name, value),
                    _ => line("?", pair),
                }
            }
        }
        _ => {}
    }
    lines
}

/// The answer of a test.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Trial {
    pub(crate) succeeded: bool,
    pub(crate) event_id: String,
    pub(crate) class: String,
    pub(crate) status: Option<u16>,
    pub(crate) cause: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) headers: Option<Value>,
    pub(crate) response: Option<String>,
    pub(crate) duration_ms: i64,
}

impl Trial {
    pub(crate) fn header_lines(&self) -> String {
        header_lines(self.headers.as_ref())
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Audit {
    pub(crate) entries: Vec<AuditEntry>,
    pub(crate) cursor: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AuditEntry {
    pub(crate) at: DateTime<Utc>,
    pub(crate) who: String,
    pub(crate) client: Option<String>,
    pub(crate) action: String,
    pub(crate) webhook: i64,
    pub(crate) detail: Value,
}

impl AuditEntry {
    /// What was changed, for people.
    pub(crate) fn detail_text(&self) -> String {
        format!("{:#}", self.detail)
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventClass {
    pub(crate) class: String,
    pub(crate) entity: String,
    pub(crate) action: String,
    pub(crate) matched_by_patterns: bool,
    pub(crate) when: String,
}

impl EventClass {
    pub(crate) fn short(&self) -> &str {
        short_class(&self.class)
    }

    /// When it is sent, in pieces: text, and names (`true`), which the manual writes between backticks.
    pub(crate) fn when_pieces(&self) -> Vec<(bool, &str)> {
        let pieces = self.when.split('`').enumerate();
        pieces.map(|(at, piece)| (at % 2 == 1, piece)).collect()
    }
}
