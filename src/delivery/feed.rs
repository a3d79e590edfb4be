//! Attempts as they are made, for whoever watches this process.
//!
//! Guarantees: watching delays no delivery; a watcher that is too slow learns how many attempts it missed; if nobody watches, nothing is
//! made. What is kept for watchers is bounded.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use tokio::sync::broadcast;

/// How many attempts a watcher may be behind.
const KEPT: usize = 1024;

/// One attempt to make a delivery.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Watched {
    pub delivery: i64,
    pub webhook: i64,
    /// The `webhook-id`.
    pub event_id: String,
    /// `ObjectCreatedEvent`, …
    pub class: String,
    /// Of an object: `object:` and its uuid.
    pub lane: String,
    /// `live`, `retry`, `replay`, `backfill`.
    pub reason: &'static str,
    /// What becomes of the delivery: `succeeded`, `retrying`, `given_up`.
    pub state: &'static str,
    /// 1 is the first.
    pub attempt: u32,
    pub status: Option<u16>,
    pub cause: Option<&'static str>,
    /// When the attempt began.
    #[serde(serialize_with = "rfc3339")]
    pub at: DateTime<Utc>,
    pub duration_ms: u64,
}

fn rfc3339<S: Serializer>(at: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// Tells watchers of attempts; cheap to clone.
#[derive(Debug, Clone)]
pub struct Feed {
    sender: broadcast::Sender<Arc<Watched>>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            sender: broadcast::Sender::new(KEPT),
        }
    }
}

impl Feed {
    /// Tells whoever watches of an attempt, which is described only if somebody does.
    pub(crate) fn tell(&self, describe: impl FnOnce() -> Watched) {
        if self.sender.receiver_count() > 0 {
            // The last watcher may have gone meanwhile.
            let _ = self.sender.send(Arc::new(describe()));
        }
    }

    /// Watches from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Arc<Watched>> {
        self.sender.subscribe()
    }
}
