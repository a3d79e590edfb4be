//! What the receiver records.

use std::time::Instant;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hyper::{HeaderMap, Method, Version};

use super::answer::Answer;

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its place in the order of arrival, from 0.
    pub number: usize,
    /// The connection that it came over; requests with equal numbers shared one.
    pub connection: u64,
    pub version: Version,
    pub method: Method,
    /// Path and query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// When its last byte arrived, by the wall clock and by a clock that is never set.
    pub at: DateTime<Utc>,
    pub instant: Instant,
    /// How it was answered.
    pub answer: Answer,
}

impl Received {
    /// The value of a header; empty if it is missing or not text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    }

    /// The body as JSON; null if it is not JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}
