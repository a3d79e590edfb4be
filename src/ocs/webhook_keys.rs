//! Which fields a webhook has in the answers of the Nextcloud behind us: `tokenNeeded` came with Nextcloud 33.
//!
//! Guarantee: what Nextcloud's answers contain decides, never its version. As long as no answer contained a webhook, ours have the
//! fields that every version has.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::registry::view::Keys;

/// How long Nextcloud is not asked again that had no webhook to show.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// What Nextcloud's answers contained.
#[derive(Debug, Default)]
pub(super) struct SeenKeys(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    keys: Option<Keys>,
    asked: Option<Instant>,
}

impl SeenKeys {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns from webhooks that Nextcloud listed. The last answer counts: Nextcloud may have been upgraded.
    pub(super) fn learn(&self, listed: &[Value]) {
        if let Some(webhook) = listed.iter().find_map(Value::as_object) {
            self.seen().keys = Some(if webhook.contains_key("tokenNeeded") {
                Keys::Twelve
            } else {
                Keys::Eleven
            });
        }
    }

    /// Which fields there are, as far as is known.
    pub(super) fn known(&self) -> Option<Keys> {
        self.seen().keys
    }

    /// Nextcloud may have a webhook now: it answered a request to make one.
    pub(super) fn ask_again(&self) {
        self.seen().asked = None;
    }

    /// Whether Nextcloud is to be asked for its webhooks: nothing is known, and nobody has asked lately.
    pub(super) fn is_to_be_asked(&self, now: Instant) -> bool {
        let mut seen = self.seen();
        let lately = seen
            .asked
            .is_some_and(|asked| now.saturating_duration_since(asked) < ASK_AGAIN);
        if seen.keys.is_some() || lately {
            return false;
        }
        seen.asked = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_webhook_that_was_seen_decides() {
        let seen = SeenKeys::default();
        seen.learn(&[]);
        assert_eq!(seen.known(), None);
        seen.learn(&[json!({"id": 1})]);
        assert_eq!(seen.known(), Some(Keys::Eleven));
        seen.learn(&[json!({"id": 1, "tokenNeeded": []})]);
        seen.learn(&[]);
        assert_eq!(seen.known(), Some(Keys::Twelve));
        assert!(!seen.is_to_be_asked(Instant::now()));
    }

    #[test]
    fn a_nextcloud_without_webhooks_is_asked_now_and_then() {
        let (seen, now) = (SeenKeys::default(), Instant::now());
        assert!(seen.is_to_be_asked(now));
        assert!(!seen.is_to_be_asked(now + ASK_AGAIN / 2));
        assert!(seen.is_to_be_asked(now + ASK_AGAIN));
        seen.ask_again();
        assert!(seen.is_to_be_asked(now + ASK_AGAIN));
    }
}
