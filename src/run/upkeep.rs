//! What is done again and again: registrations are read, the outbox and the queue measured, partitions made and dropped, and what
//! is kept no longer is removed. At the end it is cut off wherever it is: nothing of it needs an end of its own.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;

use super::ground::Ground;
use crate::config::Settings;
use crate::delivery::partitions::{self, Retention};
use crate::lifecycle::locks;
use crate::measure;
use crate::supervise::Supervisor;

/// How often partitions are made and dropped.
const PARTITIONS: Duration = Duration::from_secs(3600);

pub(super) fn start(ground: &Ground, supervisor: &mut Supervisor) {
    let registry = Arc::clone(&ground.registry);
    supervisor.start_simple("registry", move |stop| {
        let registry = Arc::clone(&registry);
        async move {
            stop.run_until_cancelled(registry.watch(stop.clone())).await;
        }
    });

    let (pool, limits, measured) = (
        ground.pool.clone(),
        ground.settings.outbox,
        ground.measured.clone(),
    );
    supervisor.start_simple("measuring", move |stop| {
        let work = measure::run(pool.clone(), limits, measured.clone(), stop.clone());
        async move {
            stop.run_until_cancelled(work).await;
        }
    });

    let (pool, retention) = (ground.pool.clone(), retention(&ground.settings));
    supervisor.start_simple("partitions", move |stop| {
        let work = keep_partitions(pool.clone(), retention);
        async move {
            stop.run_until_cancelled(work).await;
        }
    });

    let (pool, kept) = (
        ground.pool.clone(),
        crate::retention::Retention::of(&ground.settings),
    );
    supervisor.start_simple("retention", move |stop| {
        crate::retention::run(pool.clone(), kept, stop)
    });
}

fn retention(settings: &Settings) -> Retention {
    let days = |time: Duration| u32::try_from(time.as_secs().div_ceil(86_400)).unwrap_or(u32::MAX);
    Retention {
        events: days(settings.change_retention),
        log: days(settings.log_retention),
        event_bytes: settings.change_max_bytes,
        log_bytes: settings.log_max_bytes,
    }
}

/// Makes the coming days' partitions, drops those past their retention, and keeps the remembered locks within their number.
async fn keep_partitions(pool: Pool, retention: Retention) {
    loop {
        match pool.get().await {
            Ok(client) => {
                if let Err(error) = partitions::maintain(&**client, retention).await {
                    tracing::warn!(error = %crate::error_text::chain(&error), "partitions could not be kept; tried again in an hour");
                }
                if let Err(error) = locks::trim(&**client, locks::MOST).await {
                    tracing::warn!(error = %crate::error_text::chain(&error), "the remembered locks could not be kept within their number; tried again in an hour");
                }
            }
            Err(error) => {
                tracing::debug!(error = %crate::error_text::chain(&error), "no connection to keep partitions with")
            }
        }
        tokio::time::sleep(PARTITIONS).await;
    }
}
