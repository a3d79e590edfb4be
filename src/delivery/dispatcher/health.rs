//! Keeps the receivers' health in the database, and disables webhooks that have failed for too long.
//!
//! Guarantees: at most one write a second for each webhook, whatever the rate of failures. The latest state wins, and a success
//! before it is not forgotten. A report about a registration that was changed meanwhile is dropped, here and by the database.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::Notify;

use crate::database::DatabaseError;
use crate::delivery::queue;
use crate::delivery::queue::HealthReport;
use crate::delivery::timed_query::timed_query;
use crate::delivery::webhooks::Webhooks;
use crate::registry::WebhookId;
use crate::supervise::Crew;

/// A webhook that has failed for so long without a success is disabled.
const DISABLE_AFTER: Duration = Duration::from_secs(5 * 24 * 3600);

/// Takes reports. The task that writes them ends when this is dropped.
pub(super) struct Reports(Arc<Shared>);

#[derive(Default)]
struct Shared {
    latest: Mutex<State>,
    notify: Notify,
}

#[derive(Default)]
struct State {
    reports: BTreeMap<WebhookId, Unwritten>,
    closed: bool,
}

impl State {
    /// What there is to write about this revision; what there was about another one is dropped.
    fn report(&mut self, webhook: WebhookId, revision: i64) -> &mut Unwritten {
        let report = self.reports.entry(webhook).or_default();
        if report.revision != revision {
            *report = Unwritten {
                revision,
                ..Unwritten::default()
            };
        }
        report
    }

    /// Takes back what could not be written, as far as nothing newer came meanwhile.
    fn put_back(&mut self, batch: BTreeMap<WebhookId, Unwritten>) {
        for (webhook, old) in batch {
            let Some(new) = self.reports.get_mut(&webhook) else {
                self.reports.insert(webhook, old);
                continue;
            };
            if new.revision == old.revision && !new.forgiven {
                new.forgiven = old.forgiven;
                new.health = match (old.health, new.health.take()) {
                    (Some(old), Some(new)) => Some(old.then(new)),
                    (old, new) => new.or(old),
                };
            }
        }
    }
}

/// What there is to write about a webhook.
#[derive(Default)]
struct Unwritten {
    /// The revision of the registration that this is about.
    revision: i64,
    /// The days until it is disabled begin anew.
    forgiven: bool,
    /// How the receiver is doing after that.
    health: Option<HealthReport>,
}

impl Reports {
    /// A delivery failed for a reason that says nothing about the receiver: the days until it is disabled begin anew with its
    /// next failure.
    pub(super) fn forgive(&self, webhook: WebhookId, revision: i64) {
        let mut state = self.0.lock();
        let report = state.report(webhook, revision);
        report.forgiven = true;
        report.health = None;
        drop(state);
        self.0.notify.notify_one();
    }

    /// A delivery succeeded.
    pub(super) fn succeeded(&self, webhook: WebhookId, revision: i64) {
        self.report(webhook, revision, |health| {
            health.failures = 0;
            health.succeeded = true;
        });
    }

    /// A delivery failed; `failures` failed in a row.
    pub(super) fn failed(&self, webhook: WebhookId, revision: i64, failures: u32, cause: String) {
        self.report(webhook, revision, |health| {
            health.failures = failures;
            health.cause = Some(cause);
        });
    }

    fn report(&self, webhook: WebhookId, revision: i64, change: impl FnOnce(&mut HealthReport)) {
        let mut state = self.0.lock();
        change(state.report(webhook, revision).health.get_or_insert_default());
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

/// Starts the task that writes reports.
pub(super) fn start(
    crew: &mut Crew,
    pool: Pool,
    query_timeout: Duration,
    webhooks: Arc<dyn Webhooks>,
) -> Reports {
    let shared = Arc::new(Shared::default());
    let reports = Reports(Arc::clone(&shared));
    crew.spawn("health", async move {
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
            if let Err(error) = write(&pool, query_timeout, webhooks.as_ref(), &batch).await {
                tracing::warn!(error = %crate::error_text::chain(&error), "the health of webhooks cannot be written; trying again");
                if closed {
                    return;
                }
                // Without this, a success would be missing when the days of failures are counted.
                shared.lock().put_back(batch);
            }
            if !closed {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    });
    reports
}

async fn write(
    pool: &Pool,
    query_timeout: Duration,
    webhooks: &dyn Webhooks,
    batch: &BTreeMap<WebhookId, Unwritten>,
) -> Result<(), DatabaseError> {
    for (webhook, report) in batch {
        if report.forgiven {
            timed_query(pool, query_timeout, async |client| {
                queue::forgive(client, *webhook, report.revision).await
            })
            .await?;
        }
        let Some(health) = &report.health else {
            continue;
        };
        let failing = timed_query(pool, query_timeout, async |client| {
            queue::record_health(client, *webhook, report.revision, health).await
        })
        .await?;
        if health.failures > 0 && failing.is_some_and(|f| f >= DISABLE_AFTER) {
            let cause = health.cause.as_deref().unwrap_or("unknown");
            let reason = format!("no delivery has succeeded for five days; the last failure: {cause}");
            webhooks.disable(*webhook, report.revision, reason).await;
        }
    }
    Ok(())
}

/// The receiver answered 410: disables its webhook. Its health is stored first, since disabling changes the registration's revision.
pub(super) async fn gone(
    pool: &Pool,
    query_timeout: Duration,
    webhooks: &dyn Webhooks,
    webhook: WebhookId,
    revision: i64,
    failures: u32,
) {
    let health = HealthReport {
        failures,
        cause: Some("status 410".to_owned()),
        succeeded: false,
    };
    let store = timed_query(pool, query_timeout, async |client| {
        queue::record_health(client, webhook, revision, &health).await
    });
    if let Err(error) = store.await {
        // The registration has the reason, too.
        tracing::warn!(%webhook, error = %crate::error_text::chain(&error), "the health of a webhook cannot be written");
    }
    let reason = "the receiver answered 410 Gone".to_owned();
    webhooks.disable(webhook, revision, reason).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEBHOOK: WebhookId = WebhookId(1);

    fn taken(reports: &Reports) -> BTreeMap<WebhookId, Unwritten> {
        std::mem::take(&mut reports.0.lock().reports)
    }

    fn health(failures: u32, cause: Option<&str>, succeeded: bool) -> HealthReport {
        HealthReport {
            failures,
            cause: cause.map(str::to_owned),
            succeeded,
        }
    }

    #[test]
    fn a_success_that_could_not_be_written_outlives_the_failures_after_it() {
        let reports = Reports(Arc::default());
        reports.succeeded(WEBHOOK, 1);
        let unwritten = taken(&reports);
        reports.failed(WEBHOOK, 1, 3, "status 500".to_owned());
        reports.0.lock().put_back(unwritten);
        let written = taken(&reports).remove(&WEBHOOK).and_then(|report| report.health);
        assert_eq!(written, Some(health(3, Some("status 500"), true)));
    }

    #[test]
    fn what_is_reported_of_a_former_registration_is_dropped() {
        let reports = Reports(Arc::default());
        reports.failed(WEBHOOK, 1, 9, "status 500".to_owned());
        let unwritten = taken(&reports);
        reports.failed(WEBHOOK, 1, 10, "status 500".to_owned());
        reports.succeeded(WEBHOOK, 2);
        reports.0.lock().put_back(unwritten);
        let report = taken(&reports).remove(&WEBHOOK).unwrap();
        assert_eq!((report.revision, report.health), (2, Some(health(0, None, true))));
    }
}
