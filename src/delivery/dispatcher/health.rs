//! Keeps the receivers' health in the database, and disables webhooks that have failed for too long.
//!
//! Guarantees: at most one write a second for each webhook, whatever the rate of failures; the latest state wins, and a success
//! before it is not forgotten.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::db::DbError;
use crate::delivery::queue::Doing;
use crate::delivery::{Webhooks, queue};
use crate::registry::WebhookId;

/// A webhook that has failed for so long without a success is disabled.
const DISABLE_AFTER: Duration = Duration::from_secs(5 * 24 * 3600);

/// Takes reports; the keeper ends when it is dropped.
pub(super) struct Reports(Arc<Shared>);

#[derive(Default)]
struct Shared {
    latest: Mutex<State>,
    notify: Notify,
}

#[derive(Default)]
struct State {
    reports: BTreeMap<WebhookId, Report>,
    closed: bool,
}

impl State {
    /// What could not be written, as far as nothing newer came meanwhile.
    fn put_back(&mut self, batch: BTreeMap<WebhookId, Report>) {
        for (webhook, old) in batch {
            let new = self.reports.entry(webhook).or_default();
            if !new.forgiven {
                new.forgiven = old.forgiven;
                new.doing = match (old.doing, new.doing.take()) {
                    (Some(old), Some(new)) => Some(old.then(new)),
                    (old, new) => new.or(old),
                };
            }
        }
    }
}

/// What there is to write about a webhook.
#[derive(Default)]
struct Report {
    /// The days until it is disabled begin anew.
    forgiven: bool,
    /// How it is doing after that.
    doing: Option<Doing>,
}

impl Reports {
    /// A delivery failed for a reason that says nothing of the receiver, or the webhook was changed: the days until it is
    /// disabled begin anew with its next failure.
    pub(super) fn forgive(&self, webhook: WebhookId) {
        let mut state = self.0.lock();
        let report = state.reports.entry(webhook).or_default();
        report.forgiven = true;
        report.doing = None;
        drop(state);
        self.0.notify.notify_one();
    }

    /// A delivery succeeded.
    pub(super) fn succeeded(&self, webhook: WebhookId) {
        self.report(webhook, |doing| {
            doing.failures = 0;
            doing.succeeded = true;
        });
    }

    /// A delivery failed; `failures` have in a row.
    pub(super) fn failed(&self, webhook: WebhookId, failures: u32, cause: String) {
        self.report(webhook, |doing| {
            doing.failures = failures;
            doing.cause = Some(cause);
        });
    }

    fn report(&self, webhook: WebhookId, change: impl FnOnce(&mut Doing)) {
        let mut state = self.0.lock();
        change(
            state
                .reports
                .entry(webhook)
                .or_default()
                .doing
                .get_or_insert_default(),
        );
        drop(state);
        self.0.notify.notify_one();
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.notify.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts keeping.
pub(super) fn start(pool: Pool, webhooks: Arc<dyn Webhooks>) -> (Reports, JoinHandle<()>) {
    let shared = Arc::new(Shared::default());
    let reports = Reports(Arc::clone(&shared));
    let task = tokio::spawn(async move {
        loop {
            let (batch, closed) = {
                let mut state = shared.lock();
                (std::mem::take(&mut state.reports), state.closed)
            };
            if batch.is_empty() {
                if closed {
                    return;
                }
                shared.notify.notified().await;
                continue;
            }
            if let Err(error) = write(&pool, webhooks.as_ref(), &batch).await {
                tracing::warn!(error = %crate::text::chain(&error), "the health of webhooks cannot be written; trying again");
                if closed {
                    return;
                }
                // A success that is not written would be missing when the days of failures are counted.
                shared.lock().put_back(batch);
            }
            if !closed {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    });
    (reports, task)
}

async fn write(
    pool: &Pool,
    webhooks: &dyn Webhooks,
    batch: &BTreeMap<WebhookId, Report>,
) -> Result<(), DbError> {
    let client = pool.get().await?;
    for (webhook, report) in batch {
        if report.forgiven {
            queue::forgive(&client, *webhook).await?;
        }
        let Some(doing) = &report.doing else {
            continue;
        };
        let failing = queue::record_health(&client, *webhook, doing).await?;
        if doing.failures > 0 && failing.is_some_and(|f| f >= DISABLE_AFTER) {
            let cause = doing.cause.as_deref().unwrap_or("unknown");
            let reason = format!("no delivery has succeeded for five days; the last failure: {cause}");
            webhooks.disable(*webhook, reason).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_that_could_not_be_written_outlives_the_failures_after_it() {
        let (webhook, reports) = (WebhookId(1), Reports(Arc::default()));
        reports.succeeded(webhook);
        let unwritten = std::mem::take(&mut reports.0.lock().reports);
        reports.failed(webhook, 3, "status 500".to_owned());
        let mut state = reports.0.lock();
        state.put_back(unwritten);
        let doing = state.reports.remove(&webhook).and_then(|report| report.doing);
        let expected = Doing {
            failures: 3,
            cause: Some("status 500".to_owned()),
            succeeded: true,
        };
        assert_eq!(doing, Some(expected));
    }
}
