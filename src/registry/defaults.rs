//! What a webhook gets where its registration says nothing of its own.

use std::time::Duration;

use super::body::EventSource;
use super::webhook::{Limits, RetryPolicy};

/// What a webhook gets where its registration says nothing of its own.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    pub limits: Limits,
    pub retry: RetryPolicy,
    /// Who sends CloudEvents.
    pub source: EventSource,
}

impl Defaults {
    /// A schedule of its own says by its length how many attempts there are, unless that is said too.
    pub(super) fn retry(&self, max_attempts: Option<u32>, schedule: Option<Vec<Duration>>) -> RetryPolicy {
        let attempts = schedule
            .as_ref()
            .map(|delays| u32::try_from(delays.len()).unwrap_or(u32::MAX).saturating_add(1));
        RetryPolicy {
            max_attempts: max_attempts
                .or(attempts)
                .unwrap_or(self.retry.max_attempts)
                .max(1),
            schedule: schedule.unwrap_or_else(|| self.retry.schedule.clone()),
        }
    }
}
