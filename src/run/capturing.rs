//! Wires what leads from Nextcloud's tables into the queue: capture with its pipeline, and the search for who made a change.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::shared::Shared;
use crate::capture::{self, CaptureSettings, LossNotices};
use crate::config::Settings;
use crate::lifecycle::{Housekeeping, Lifecycle, LifecycleSettings};
use crate::pipeline::{ActivityFinder, ActivityRequests, Pipeline};
use crate::supervise::Supervisor;

pub(super) fn start(shared: &Shared, supervisor: &mut Supervisor) {
    let (activity, finder) = ActivityFinder::new(
        shared.pool.clone(),
        shared.host(),
        &shared.settings.table_prefix,
        shared.settings.actor_wait,
        shared.wake.clone(),
    );
    // The finder keeps its end of the channel when the part fails and is started again.
    let finder = Arc::new(Mutex::new(finder));
    supervisor.start_simple("actors", move |stop| {
        let finder = Arc::clone(&finder);
        async move {
            let mut finder = finder.lock().await;
            stop.run_until_cancelled(finder.run(stop.clone())).await;
        }
    });

    let (shared, settings) = (shared.clone(), capture_settings(shared));
    let notices = LossNotices::default();
    supervisor.start_simple("capture", move |stop| {
        capture::run(
            shared.database.clone(),
            settings.clone(),
            pipeline(&shared, activity.clone()),
            shared.status.clone(),
            notices.clone(),
            stop,
        )
    });
}

fn capture_settings(shared: &Shared) -> CaptureSettings {
    let settings = &shared.settings;
    CaptureSettings {
        doorbell: settings.doorbell,
        poll_interval: settings.poll_interval,
        discovery_interval: settings.discovery_interval,
        batch_size: settings.batch_size,
        table_prefix: Arc::clone(&shared.table_prefix),
        outbox: settings.outbox,
    }
}

fn pipeline(shared: &Shared, activity: ActivityRequests) -> Pipeline {
    Pipeline::new(
        Arc::clone(&shared.registry),
        Lifecycle::new(lifecycle_settings(&shared.settings), shared.host()),
        shared.pipeline_metrics.clone(),
        shared.wake.clone(),
        activity,
        shared.settings.actor_wait,
        Arc::clone(&shared.table_prefix),
    )
    .traced(shared.traces.clone())
}

fn lifecycle_settings(settings: &Settings) -> LifecycleSettings {
    let mut lifecycle = LifecycleSettings::new(&settings.table_prefix);
    lifecycle.actor_window = settings.actor_wait;
    if let Some(columns) = &settings.housekeeping_columns {
        lifecycle.housekeeping = Housekeeping::of_every_kind(columns);
    }
    lifecycle
}
