//! From the queue to the receivers, and into the queue again: the dispatcher, and the jobs. Neither works while this may be a
//! restored copy of the database.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::RunError;
use super::ground::Ground;
use crate::capture::CaptureStatus;
use crate::capture::DoorbellMode;
use crate::database::Database;
use crate::delivery::{self, Dispatcher};
use crate::pipeline::RegistryWebhooks;
use crate::pipeline::jobs::{Runner, RunnerSettings};
use crate::supervise::{Part, Reported, Supervisor};
use orw_egress::Client;

/// Connections for delivery alone: whatever the API is asked for, events are read and outcomes written.
const POOL: usize = 3;

pub(super) fn start(ground: &Ground, supervisor: &mut Supervisor) -> Result<(), RunError> {
    let deliver = Arc::new(Deliver::new(ground)?);
    let status = ground.status.clone();
    supervisor.start("delivery", move |part| {
        Arc::clone(&deliver).run(status.subscribe(), part)
    });

    let runner = Arc::new(runner(ground));
    let status = ground.status.clone();
    supervisor.start("jobs", move |part| {
        run_jobs(Arc::clone(&runner), status.subscribe(), part)
    });
    Ok(())
}

/// What the dispatcher is made of, each time it may deliver.
struct Deliver {
    database: Database,
    pool: deadpool_postgres::Pool,
    registered: Arc<RegistryWebhooks>,
    client: Client,
    options: delivery::Options,
    wake: delivery::Wake,
}

impl Deliver {
    fn new(ground: &Ground) -> Result<Self, RunError> {
        let settings = &ground.settings;
        Ok(Self {
            database: ground.database.clone(),
            pool: ground.database.pool(POOL)?,
            registered: Arc::new(RegistryWebhooks::new(
                Arc::clone(&ground.registry),
                ground.metrics.clone(),
            )),
            client: ground.client.clone(),
            options: delivery::Options {
                max_in_flight: settings.max_in_flight,
                max_bytes: settings.max_bytes_in_flight,
                own_sessions: settings.doorbell == DoorbellMode::Notify,
                metrics: ground.delivery_metrics.clone(),
                ..delivery::Options::default()
            },
            wake: ground.wake.clone(),
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

fn runner(ground: &Ground) -> Runner {
    Runner::new(
        ground.pool.clone(),
        ground.host(),
        Arc::clone(&ground.registry),
        ground.metrics.clone(),
        ground.wake.clone(),
        RunnerSettings {
            table_prefix: Arc::clone(&ground.table_prefix),
            actor_wait: ground.settings.actor_wait,
        },
    )
}

/// Makes the steps of replays and backfills.
async fn run_jobs(
    runner: Arc<Runner>,
    status: watch::Receiver<CaptureStatus>,
    part: Part,
) -> Result<(), Reported> {
    let steps = |stop: CancellationToken| {
        let runner = &runner;
        async move {
            // A step is kept whole or not at all, so it can be cut off.
            stop.run_until_cancelled(runner.run(stop.clone())).await;
            Ok(())
        }
    };
    where_allowed(status, part.shutdown(), steps).await
}

/// Whether this is the database that the position belongs to: a restored copy must not post to the receivers of the
/// original.
const fn may(status: &CaptureStatus) -> bool {
    matches!(status, CaptureStatus::Leading | CaptureStatus::Standby)
}

const fn may_not(status: &CaptureStatus) -> bool {
    matches!(status, CaptureStatus::Held { .. })
}

/// Does `work` while deliveries may be made, until `shutdown`. Work ends when its token is cancelled; where it ends before, so
/// does this.
async fn where_allowed<W>(
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
            known = becomes(&mut status, may) => if !known { return Ok(()) },
        }
        let stop = shutdown.child_token();
        let held = async {
            if becomes(&mut status, may_not).await {
                stop.cancel();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! { ended = work(stop.clone()) => ended?, () = held => {} }
        if !stop.is_cancelled() {
            return Ok(());
        }
    }
}

/// Waits until capture's status is one that `wanted` takes; `false` where there will be no other.
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
        // Which of two things that are ready is looked at first may be left to chance.
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
