//! From Nextcloud's tables into the queue: capture with its pipeline, and who did it.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::ground::Ground;
use crate::capture::{self, CaptureSettings, LossNotices};
use crate::config::Settings;
use crate::lifecycle::{Lifecycle, LifecycleSettings};
use crate::pipeline::{ActivityFinder, ActivityRequests, Pipeline};
use crate::supervise::Supervisor;

pub(super) fn start(ground: &Ground, supervisor: &mut Supervisor) {
    let (activity, finder) = ActivityFinder::new(
        ground.pool.clone(),
        ground.host(),
        &ground.settings.table_prefix,
        ground.settings.actor_wait,
        ground.wake.clone(),
    );
    // Its end of the channel outlives a failure.
    let finder = Arc::new(Mutex::new(finder));
    supervisor.start_simple("actors", move |stop| {
        let finder = Arc::clone(&finder);
        async move {
            let mut finder = finder.lock().await;
            stop.run_until_cancelled(finder.run(stop.clone())).await;
        }
    });

    let (ground, settings) = (ground.clone(), capture_settings(ground));
    let notices = LossNotices::default();
    supervisor.start_simple("capture", move |stop| {
        capture::run(
            ground.database.clone(),
            settings.clone(),
            pipeline(&ground, activity.clone()),
            ground.status.clone(),
            notices.clone(),
            stop,
        )
    });
}

fn capture_settings(ground: &Ground) -> CaptureSettings {
    let settings = &ground.settings;
    CaptureSettings {
        doorbell: settings.doorbell,
        poll_interval: settings.poll_interval,
        discovery_interval: settings.discovery_interval,
        batch_size: settings.batch_size,
        table_prefix: Arc::clone(&ground.table_prefix),
        outbox: settings.outbox,
    }
}

fn pipeline(ground: &Ground, activity: ActivityRequests) -> Pipeline {
    Pipeline::new(
        Arc::clone(&ground.registry),
        Lifecycle::new(lifecycle_settings(&ground.settings), ground.host()),
        ground.metrics.clone(),
        ground.wake.clone(),
        activity,
        ground.settings.actor_wait,
        Arc::clone(&ground.table_prefix),
    )
}

fn lifecycle_settings(settings: &Settings) -> LifecycleSettings {
    let mut lifecycle = LifecycleSettings::new(&settings.table_prefix);
    lifecycle.actor_window = settings.actor_wait;
    if let Some(columns) = &settings.housekeeping_columns {
        lifecycle.object_housekeeping = columns.iter().cloned().collect();
        lifecycle.plain_housekeeping = columns.iter().cloned().collect();
    }
    lifecycle
}
