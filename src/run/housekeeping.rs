//! Wires what is done again and again: reading the registrations, measuring outbox and queue, making and dropping partitions, and
//! removing rows whose retention has ended, and sending spans. All of it may be cut off at any moment when the process ends.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;

use super::shared::Shared;
use crate::config::Settings;
use crate::delivery::partitions;
use crate::lifecycle::locks;
use crate::measure;
use crate::retention;
use crate::supervise::Supervisor;

/// How often partitions are made and dropped.
const PARTITIONS: Duration = Duration::from_secs(3600);

pub(super) fn start(shared: &Shared, supervisor: &mut Supervisor) {
    let registry = Arc::clone(&shared.registry);
    supervisor.start_simple("registry", move |stop| {
        let registry = Arc::clone(&registry);
        async move {
            stop.run_until_cancelled(registry.watch(stop.clone())).await;
        }
    });

    let (pool, measuring, measured) = (
        shared.pool.clone(),
        measure::Measuring {
            interval: shared.settings.metrics_interval,
            limits: shared.settings.outbox,
        },
        shared.measured.clone(),
    );
    supervisor.start_simple("measuring", move |stop| {
        let work = measure::run(pool.clone(), measuring, measured.clone(), stop.clone());
        async move {
            stop.run_until_cancelled(work).await;
        }
    });

    let (pool, retention) = (shared.pool.clone(), partition_retention(&shared.settings));
    supervisor.start_simple("partitions", move |stop| {
        let work = keep_partitions(pool.clone(), retention);
        async move {
            stop.run_until_cancelled(work).await;
        }
    });

    if let Some(exporter) = &shared.exporter {
        let exporter = Arc::clone(exporter);
        supervisor.start_simple("traces", move |stop| {
            let exporter = Arc::clone(&exporter);
            async move { exporter.run(stop).await }
        });
    }

    let (pool, kept) = (shared.pool.clone(), row_retention(&shared.settings));
    supervisor.start_simple("retention", move |stop| retention::run(pool.clone(), kept, stop));
}

/// Whole days; a part of a day counts as one.
fn days(time: Duration) -> u32 {
    u32::try_from(time.as_secs().div_ceil(86_400)).unwrap_or(u32::MAX)
}

fn row_retention(settings: &Settings) -> retention::Retention {
    retention::Retention {
        log_days: days(settings.log_retention),
        audit_days: days(settings.audit_retention),
    }
}

fn partition_retention(settings: &Settings) -> partitions::Retention {
    partitions::Retention {
        events: days(settings.change_retention),
        log: days(settings.log_retention),
        event_bytes: settings.change_max_bytes,
        log_bytes: settings.log_max_bytes,
    }
}

/// Makes the partitions of the coming days, drops those whose retention has ended, and removes the oldest remembered locks if there
/// are too many.
async fn keep_partitions(pool: Pool, retention: partitions::Retention) {
    loop {
        match pool.get().await {
            Ok(mut client) => {
                if let Err(error) = partitions::maintain(&mut **client, retention).await {
                    tracing::warn!(error = %crate::error_text::chain(&error), "partitions could not be made or dropped; the next try is in an hour");
                }
                if let Err(error) = partitions::index_log(&**client).await {
                    tracing::warn!(error = %crate::error_text::chain(&error), "the log could not be indexed; the next try is in an hour");
                }
                if let Err(error) = locks::trim(&**client, locks::MOST).await {
                    tracing::warn!(error = %crate::error_text::chain(&error), "the oldest remembered locks could not be removed; the next try is in an hour");
                }
            }
            Err(error) => {
                tracing::debug!(error = %crate::error_text::chain(&error), "no connection for making and dropping partitions")
            }
        }
        tokio::time::sleep(PARTITIONS).await;
    }
}
