//! Wires the dispatcher, which delivers from the queue, and the jobs, which put stored events and existing objects into the queue. Both
//! stand still while this may be a restored copy of the database.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::RunError;
use super::shared::Shared;
use crate::capture::{CaptureStatus, DoorbellMode};
use crate::database::Database;
use crate::delivery::{self, Dispatcher};
use crate::pipeline::RegistryWebhooks;
use crate::pipeline::jobs::{Runner, RunnerSettings};
use crate::supervise::{Part, Reported, Supervisor};
use orw_egress::Client;

/// The connections of delivery alone, so that it can read events and write outcomes however busy the API is.
const POOL: usize = 3;

pub(super) fn start(shared: &Shared, supervisor: &mut Supervisor) -> Result<(), RunError> {
    let delivering = Arc::new(Delivering::new(shared)?);
    let status = shared.status.clone();
    supervisor.start("delivery", move |part| {
        Arc::clone(&delivering).run(status.subscribe(), part)
    });

    let runner = Arc::new(runner(shared));
    let status = shared.status.clone();
    supervisor.start("jobs", move |part| {
        run_jobs(Arc::clone(&runner), status.subscribe(), part)
    });
    Ok(())
}

/// What each new dispatcher is made from.
struct Delivering {
    database: Database,
    pool: deadpool_postgres::Pool,
    registered: Arc<RegistryWebhooks>,
    client: Client,
    options: delivery::Options,
    wake: delivery::Wake,
}

impl Delivering {
    fn new(shared: &Shared) -> Result<Self, RunError> {
        let settings = &shared.settings;
        Ok(Self {
            database: shared.database.clone(),
            pool: shared.database.pool(POOL)?,
            registered: Arc::new(RegistryWebhooks::new(
                Arc::clone(&shared.registry),
                shared.pipeline_metrics.clone(),
            )),
            client: shared.client.clone(),
            options: delivery::Options {
                max_in_flight: settings.max_in_flight,
                max_bytes: settings.max_bytes_in_flight,
                own_sessions: settings.doorbell == DoorbellMode::Notify,
                metrics: shared.delivery_metrics.clone(),
                traces: shared.traces.clone(),
                feed: shared.feed.clone(),
                ..delivery::Options::default()
            },
            wake: shared.wake.clone(),
        })
    }

    async fn run(
        self: Arc<Self>,
        status: watch::Receiver<CaptureStatus>,
        part: Part,
    ) -> Result<(), Reported> {
        let dispatch = |stop| self.dispatcher(&part).run(stop);
        where_allowed(status, part.shutdown(), dispatch).await
    }

    fn dispatcher(&self, part: &Part) -> Dispatcher {
        Dispatcher::new(
            self.database.clone(),
            self.pool.clone(),
            self.registered.clone(),
            self.client.clone(),
            self.options.clone(),
        )
        .woken_by(self.wake.clone())
        .part_of(part.clone())
    }
}

fn runner(shared: &Shared) -> Runner {
    Runner::new(
        shared.pool.clone(),
        shared.host(),
        Arc::clone(&shared.registry),
        shared.pipeline_metrics.clone(),
        shared.wake.clone(),
        RunnerSettings {
            table_prefix: Arc::clone(&shared.table_prefix),
            actor_wait: shared.settings.actor_wait,
        },
    )
}

/// Runs replays and backfills, step by step.
async fn run_jobs(
    runner: Arc<Runner>,
    status: watch::Receiver<CaptureStatus>,
    part: Part,
) -> Result<(), Reported> {
    let steps = |stop: CancellationToken| {
        let runner = &runner;
        async move {
            // A step is one transaction, so it may be cut off.
            stop.run_until_cancelled(runner.run(stop.clone())).await;
            Ok(())
        }
    };
    where_allowed(status, part.shutdown(), steps).await
}

/// Whether deliveries may be made: this is the database that the reader's position belongs to. A restored copy must not send to the
/// receivers of the original.
const fn allowed(status: &CaptureStatus) -> bool {
    matches!(status, CaptureStatus::Leading | CaptureStatus::Standby)
}

const fn held(status: &CaptureStatus) -> bool {
    matches!(status, CaptureStatus::Held { .. })
}

/// Does `work` while deliveries may be made, until `shutdown` is cancelled. The work ends when its token is cancelled; if it ends
/// earlier, this function ends, too.
pub(super) async fn where_allowed<W>(
    mut status: watch::Receiver<CaptureStatus>,
    shutdown: &CancellationToken,
    work: impl Fn(CancellationToken) -> W,
) -> Result<(), Reported>
where
    W: Future<Output = Result<(), Reported>>,
{
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            known = becomes(&mut status, allowed) => if !known { return Ok(()) },
        }
        let stop = shutdown.child_token();
        let until_held = async {
            if becomes(&mut status, held).await {
                stop.cancel();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! { ended = work(stop.clone()) => ended?, () = until_held => {} }
        if !stop.is_cancelled() {
            return Ok(());
        }
    }
}

/// Waits until `wanted` accepts the status of capture; returns `false` if the status will never change again.
async fn becomes(
    status: &mut watch::Receiver<CaptureStatus>,
    wanted: impl Fn(&CaptureStatus) -> bool,
) -> bool {
    status.wait_for(|status| wanted(status)).await.is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn nothing_begins_once_the_process_ends() {
        let status = watch::Sender::new(CaptureStatus::Leading);
        let (shutdown, begun) = (CancellationToken::new(), AtomicU32::new(0));
        shutdown.cancel();
        // If two branches are ready, `select!` may choose by chance.
        for _ in 0..100 {
            let work = |_| {
                begun.fetch_add(1, Ordering::Relaxed);
                std::future::ready(Ok(()))
            };
            let ended = where_allowed(status.subscribe(), &shutdown, work).await;
            assert!(ended.is_ok());
        }
        assert_eq!(begun.load(Ordering::Relaxed), 0);
    }
}
