//! The workers, and what must have happened to each lane.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use deadpool_postgres::{Client, Pool};
use proptest::prelude::*;
use tokio_postgres::Error;

use super::steps::{End, Spot, Step, WORKERS};
use crate::delivery::queue::{
    self, Claim, ClaimRequest, Claimed, EventRef, LeaseAtOnce, LeaseKey, NewDelivery, OutcomeRecord, Reason,
    WorkerId,
};
use crate::lifecycle::Lane;
use crate::registry::WebhookId;

/// A worker and what it has in hand.
pub(super) struct Worker {
    pub(super) id: WorkerId,
    /// The number of its next claim.
    pub(super) next_claim: i64,
    pub(super) held: Vec<Claimed>,
    pub(super) outcomes: Vec<OutcomeRecord>,
    /// Written, but the worker does not know: it writes them again with the next.
    pub(super) unheard: Vec<OutcomeRecord>,
}

impl Worker {
    /// The leases that it knows of.
    pub(super) fn in_hand(&self) -> Vec<LeaseKey> {
        let held = self.held.iter().map(Claimed::lease);
        let outcomes = self
            .outcomes
            .iter()
            .chain(&self.unheard)
            .map(OutcomeRecord::lease);
        held.chain(outcomes).collect()
    }

    pub(super) fn number(&mut self) -> i64 {
        self.next_claim += 1;
        self.next_claim - 1
    }
}

/// A question that was given up and is executed nevertheless.
pub(super) enum Question {
    Claim(WorkerId, i64, ClaimRequest),
    Reconcile(WorkerId, i64, Vec<LeaseKey>),
}

/// What must have happened to a lane.
#[derive(Default)]
pub(super) struct LaneModel {
    /// The committed events, in commit order.
    pub(super) events: Vec<i64>,
    /// So many of them, from the first on, have succeeded or were given up.
    pub(super) reached: usize,
}

/// A transaction that has enqueued and not ended.
pub(super) struct Open {
    pub(super) client: Client,
    pub(super) added: Vec<(Spot, i64)>,
    pub(super) leased: Option<Leased>,
}

/// What a transaction has leased for a worker, which gets it after the commit.
pub(super) struct Leased {
    worker: usize,
    id: WorkerId,
    number: i64,
    leases: Vec<Claimed>,
}

pub(super) struct World {
    pub(super) pool: Pool,
    pub(super) client: Client,
    pub(super) workers: Vec<Worker>,
    /// Outcomes of dead workers that are still to come.
    pub(super) late: Vec<OutcomeRecord>,
    pub(super) given_up: Vec<Question>,
    pub(super) lanes: BTreeMap<Spot, LaneModel>,
    /// Events whose outcome may be lost, so that they may be repeated.
    pub(super) lost: BTreeSet<i64>,
    pub(super) open: Option<Open>,
    pub(super) next_event: i64,
    pub(super) repeats: usize,
}

pub(super) type Checked<T = ()> = Result<T, TestCaseError>;

pub(super) fn sql<T>(result: Result<T, Error>) -> Checked<T> {
    result.map_err(|error| TestCaseError::fail(format!("{error:?}")))
}

impl World {
    pub(super) async fn new(pool: &Pool) -> Checked<Self> {
        let client = pool.get().await.expect("a connection");
        // A schedule that failed may have left some.
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
            WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
        sql(client.batch_execute(end).await)?;
        let clear = "TRUNCATE openregister_webhooks.delivery, openregister_webhooks.delivery_log, openregister_webhooks.attempt, \
            openregister_webhooks.worker, openregister_webhooks.webhook_owner, openregister_webhooks.claim";
        sql(client.batch_execute(clear).await)?;
        let mut world = Self {
            pool: pool.clone(),
            client,
            workers: Vec::new(),
            late: Vec::new(),
            given_up: Vec::new(),
            lanes: BTreeMap::new(),
            lost: BTreeSet::new(),
            open: None,
            next_event: 0,
            repeats: 0,
        };
        for _ in 0..WORKERS {
            let worker = world.born().await?;
            world.workers.push(worker);
        }
        Ok(world)
    }

    /// A worker whose lease holds until the test ends it.
    pub(super) async fn born(&self) -> Checked<Worker> {
        let id = WorkerId::new();
        let insert = "INSERT INTO openregister_webhooks.worker (id, name, beat_at, alive_until, backend_pid, backend_start) \
            VALUES ($1, 'model', 'infinity', 'infinity', 0, now())";
        sql(self.client.execute(insert, &[&id.0]).await)?;
        Ok(Worker {
            id,
            next_claim: 1,
            held: Vec::new(),
            outcomes: Vec::new(),
            unheard: Vec::new(),
        })
    }

    pub(super) async fn step(&mut self, step: Step) -> Checked {
        match step {
            Step::Enqueue { spots, lease, end } => self.enqueue(spots, lease, end).await?,
            Step::EndOpen { commit } => self.end_open(commit).await?,
            Step::Claim {
                worker,
                webhook,
                most,
                early,
                both,
                answer,
            } => {
                let want = ClaimRequest {
                    webhook: WebhookId(webhook),
                    most,
                    early,
                    // It may believe so and be wrong.
                    owned: most % 2 == 0,
                };
                self.claim(worker, want, both, answer).await?;
            }
            Step::Reconcile { worker, late } => self.reconcile(worker, late).await?,
            Step::Send { worker, pick, result } => self.send(worker, pick, result)?,
            Step::Record {
                worker,
                most,
                beside,
                heard,
            } => self.record(worker, most, beside, heard).await?,
            Step::Crash {
                worker,
                late,
                in_order,
            } => self.crash(worker, late, in_order).await?,
            Step::Late => self.record_late().await?,
            Step::Due => self.all_due().await?,
        }
        self.check_heads().await?;
        self.check_notes().await
    }

    pub(super) fn number(&mut self, spots: Vec<Spot>) -> Vec<(Spot, i64)> {
        let first = self.next_event;
        self.next_event += i64::try_from(spots.len()).unwrap_or(0);
        spots.into_iter().zip(first..).collect()
    }

    pub(super) fn committed(&mut self, added: Vec<(Spot, i64)>) {
        for (spot, event) in added {
            self.lanes.entry(spot).or_default().events.push(event);
        }
    }

    pub(super) async fn enqueue(
        &mut self,
        spots: Vec<Spot>,
        lease: Option<(usize, bool)>,
        end: End,
    ) -> Checked {
        // Another would wait for it.
        if self.open.is_some() {
            return Ok(());
        }
        let added = self.number(spots);
        let client = self.pool.get().await.expect("a connection");
        sql(client.batch_execute("BEGIN").await)?;
        let mut leased = None;
        if let Some((worker, heard)) = lease {
            leased = self.lease(&client, &added, worker).await?.filter(|_| heard);
        } else {
            sql(queue::enqueue(&**client, &deliveries(&added)).await)?;
        }
        match end {
            End::Open => {
                self.open = Some(Open {
                    client,
                    added,
                    leased,
                });
            }
            End::Rollback => sql(client.batch_execute("ROLLBACK").await)?,
            End::Commit => {
                sql(client.batch_execute("COMMIT").await)?;
                self.committed(added);
                self.handed_over(leased)?;
            }
        }
        Ok(())
    }

    /// Enqueues and leases.
    async fn lease(
        &mut self,
        client: &Client,
        added: &[(Spot, i64)],
        worker: usize,
    ) -> Checked<Option<Leased>> {
        let lease = LeaseAtOnce {
            worker: self.workers[worker].id,
            number: self.workers[worker].number(),
            granted: added.iter().map(|(_, event)| event % 4 != 0).collect(),
        };
        sql(client.batch_execute(queue::LOCK).await)?;
        let write = queue::enqueue_and_lease(&deliveries(added), &lease);
        let rows = sql(write.run(&***client).await)?;
        let leases = sql(Claim::read(rows, lease.worker))?.claimed;
        Ok(Some(Leased {
            worker,
            id: lease.worker,
            number: lease.number,
            leases: leases.into_iter().map(|taken| taken.delivery).collect(),
        }))
    }

    /// The worker hears of its leases, if it still lives.
    fn handed_over(&mut self, leased: Option<Leased>) -> Checked {
        let Some(leased) = leased.filter(|leased| self.workers[leased.worker].id == leased.id) else {
            return Ok(());
        };
        for lease in leased.leases {
            self.hold(leased.worker, lease)?;
        }
        Ok(())
    }

    /// A number below which the worker awaits no answer.
    pub(super) fn below(&self, worker: usize) -> i64 {
        let worker = &self.workers[worker];
        let open = self.open.as_ref().and_then(|open| open.leased.as_ref());
        open.filter(|open| open.id == worker.id)
            .map_or(worker.next_claim, |open| open.number)
    }

    pub(super) async fn end_open(&mut self, commit: bool) -> Checked {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        sql(open
            .client
            .batch_execute(if commit { "COMMIT" } else { "ROLLBACK" })
            .await)?;
        if commit {
            self.committed(open.added);
            self.handed_over(open.leased)?;
        }
        Ok(())
    }

    pub(super) async fn all_due(&self) -> Checked {
        let due =
            "UPDATE openregister_webhooks.delivery SET due_at = clock_timestamp() WHERE lease_owner IS NULL";
        sql(self.client.execute(due, &[]).await)?;
        Ok(())
    }
}

pub(super) fn deliveries(added: &[(Spot, i64)]) -> Vec<NewDelivery> {
    added
        .iter()
        .map(|((webhook, lane), event)| NewDelivery {
            webhook: WebhookId(*webhook),
            event: EventRef {
                day: NaiveDate::default(),
                seq: *event,
            },
            lane: Lane::object(&lane.to_string()),
            ordered: true,
            await_user: None,
            reason: Reason::Live,
        })
        .collect()
}

pub(super) fn spot_of(delivery: &Claimed) -> Spot {
    let lane = delivery.lane.as_str().trim_start_matches("object:");
    (delivery.webhook.0, lane.parse().unwrap_or(u8::MAX))
}
