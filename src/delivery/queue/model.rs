//! The queue beside a model of it: random schedules of enqueueing, claims, successes, failures, what is put off, lost answers, lost outcomes,
//! statements that are executed long after they were given up, crashes and takeovers, on a real PostgreSQL.
//!
//! What must hold: a delivery is sent only when everything before it in its lane has succeeded or was given up; it is sent
//! again after a success only where that outcome was lost; of a living worker none is; a lane has one head, its first row; every lease of a living worker
//! is noted, and after the worker has compared the notes with what it has in hand, nothing is leased to it that it does not
//! know of; in the end everything is finished, once. A failure is shrunk to the shortest schedule that shows it.
//!
//! `ORW_TEST_SEED` and `ORW_TEST_CASES` choose other schedules, and how many.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use deadpool_postgres::{Client, Pool};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use tokio_postgres::Error;

use super::*;
use crate::database::Database;
use orw_testkit::postgres::{Options, PrivatePostgres, Programs, SUPERUSER};

const WORKERS: usize = 2;
const WEBHOOKS: i64 = 2;
const LANES: u8 = 3;
/// Longer than a schedule takes; every wait ends with [`Step::Due`].
const PUT_OFF: Duration = Duration::from_secs(3600);

/// The lane of a webhook.
type Spot = (i64, u8);

#[derive(Debug, Clone)]
enum Step {
    /// One transaction puts these in.
    Enqueue { spots: Vec<Spot>, end: End },
    /// The transaction that was left open ends.
    EndOpen { commit: bool },
    /// One worker asks, or both at the same time; the first may not hear the answer, or its question comes late.
    Claim {
        worker: usize,
        webhook: i64,
        most: u32,
        early: bool,
        both: bool,
        answer: Answer,
    },
    /// A worker gives back what it does not know of; or its question comes late.
    Reconcile { worker: usize, late: bool },
    /// A worker sends one of what it holds.
    Send {
        worker: usize,
        pick: usize,
        result: Sent,
    },
    /// A worker writes the first outcomes that it has, and may not hear of it; at the same time somebody may enqueue.
    Settle {
        worker: usize,
        most: usize,
        beside: Vec<Spot>,
        heard: bool,
    },
    /// A worker dies and another takes its place. What it had in hand is forgotten; its outcomes are lost, or come late.
    Crash {
        worker: usize,
        late: bool,
        in_order: bool,
    },
    /// The outcomes of the dead arrive, and every question that comes late.
    Late,
    /// Every wait is over.
    Due,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    Rollback,
    Open,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Heard,
    Lost,
    /// The question was given up before it was executed.
    Late,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Succeeds,
    Fails,
    FailsForGood,
    HandedBack,
    /// Its event cannot be read at the moment: nothing was sent.
    PutOff,
}

impl Sent {
    /// Whether the receiver gets it.
    const fn arrives(self) -> bool {
        !matches!(self, Self::HandedBack | Self::PutOff)
    }
}

fn spots() -> impl Strategy<Value = Vec<Spot>> {
    prop::collection::vec((1..=WEBHOOKS, 0..LANES), 1..5)
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![6 => Just(End::Commit), 1 => Just(End::Rollback), 2 => Just(End::Open)];
    let sent = prop_oneof![
        6 => Just(Sent::Succeeds),
        3 => Just(Sent::Fails),
        1 => Just(Sent::FailsForGood),
        1 => Just(Sent::HandedBack),
        1 => Just(Sent::PutOff)
    ];
    let answer = prop_oneof![6 => Just(Answer::Heard), 2 => Just(Answer::Lost), 1 => Just(Answer::Late)];
    let beside = prop_oneof![3 => Just(Vec::new()), 1 => spots()];
    prop_oneof![
        4 => (spots(), end).prop_map(|(spots, end)| Step::Enqueue { spots, end }),
        2 => any::<bool>().prop_map(|commit| Step::EndOpen { commit }),
        8 => (0..WORKERS, 1..=WEBHOOKS, 1..5_u32, any::<bool>(), any::<bool>(), answer)
            .prop_map(|(worker, webhook, most, early, both, answer)| Step::Claim { worker, webhook, most, early, both, answer }),
        3 => (0..WORKERS, prop::bool::weighted(0.3)).prop_map(|(worker, late)| Step::Reconcile { worker, late }),
        10 => (0..WORKERS, 0..8_usize, sent).prop_map(|(worker, pick, result)| Step::Send { worker, pick, result }),
        6 => (0..WORKERS, 1..4_usize, beside, prop::bool::weighted(0.85)).prop_map(|(worker, most, beside, heard)| Step::Settle { worker, most, beside, heard }),
        2 => (0..WORKERS, any::<bool>(), any::<bool>())
            .prop_map(|(worker, late, in_order)| Step::Crash { worker, late, in_order }),
        2 => Just(Step::Late),
        1 => Just(Step::Due),
    ]
}

/// A worker and what it has in hand.
struct Worker {
    id: WorkerId,
    /// The number of its next claim.
    next_claim: i64,
    held: Vec<Claimed>,
    outcomes: Vec<Settled>,
    /// Written, but the worker does not know: it writes them again with the next.
    unheard: Vec<Settled>,
}

impl Worker {
    /// The leases that it knows of.
    fn in_hand(&self) -> Vec<Lease> {
        let held = self.held.iter().map(|d| (d.id, d.fence));
        let outcomes = self.outcomes.iter().chain(&self.unheard).map(Settled::lease);
        held.chain(outcomes).collect()
    }

    fn number(&mut self) -> i64 {
        self.next_claim += 1;
        self.next_claim - 1
    }
}

/// A question that was given up and is executed nevertheless.
enum Question {
    Claim(WorkerId, i64, Want),
    Reconcile(WorkerId, i64, Vec<Lease>),
}

/// What must have happened to a lane.
#[derive(Default)]
struct LaneModel {
    /// The committed events, in commit order.
    events: Vec<i64>,
    /// So many of them, from the first on, have succeeded or were given up.
    reached: usize,
}

/// A transaction that has enqueued and not ended.
struct Open {
    client: Client,
    added: Vec<(Spot, i64)>,
}

struct World {
    pool: Pool,
    client: Client,
    workers: Vec<Worker>,
    /// Outcomes of dead workers that are still to come.
    late: Vec<Settled>,
    given_up: Vec<Question>,
    lanes: BTreeMap<Spot, LaneModel>,
    /// Events whose outcome may be lost, so that they may be repeated.
    lost: BTreeSet<i64>,
    open: Option<Open>,
    next_event: i64,
    repeats: usize,
}

type Checked<T = ()> = Result<T, TestCaseError>;

fn sql<T>(result: Result<T, Error>) -> Checked<T> {
    result.map_err(|error| TestCaseError::fail(format!("{error:?}")))
}

impl World {
    async fn new(pool: &Pool) -> Checked<Self> {
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
    async fn born(&self) -> Checked<Worker> {
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

    async fn step(&mut self, step: Step) -> Checked {
        match step {
            Step::Enqueue { spots, end } => self.enqueue(spots, end).await?,
            Step::EndOpen { commit } => self.end_open(commit).await?,
            Step::Claim {
                worker,
                webhook,
                most,
                early,
                both,
                answer,
            } => {
                let want = Want {
                    webhook: WebhookId(webhook),
                    most,
                    early,
                };
                self.claim(worker, want, both, answer).await?;
            }
            Step::Reconcile { worker, late } => self.reconcile(worker, late).await?,
            Step::Send { worker, pick, result } => self.send(worker, pick, result)?,
            Step::Settle {
                worker,
                most,
                beside,
                heard,
            } => self.settle(worker, most, beside, heard).await?,
            Step::Crash {
                worker,
                late,
                in_order,
            } => self.crash(worker, late, in_order).await?,
            Step::Late => self.settle_late().await?,
            Step::Due => self.all_due().await?,
        }
        self.check_heads().await?;
        self.check_notes().await
    }

    fn number(&mut self, spots: Vec<Spot>) -> Vec<(Spot, i64)> {
        let first = self.next_event;
        self.next_event += i64::try_from(spots.len()).unwrap_or(0);
        spots.into_iter().zip(first..).collect()
    }

    fn committed(&mut self, added: Vec<(Spot, i64)>) {
        for (spot, event) in added {
            self.lanes.entry(spot).or_default().events.push(event);
        }
    }

    async fn enqueue(&mut self, spots: Vec<Spot>, end: End) -> Checked {
        // Another would wait for it.
        if self.open.is_some() {
            return Ok(());
        }
        let added = self.number(spots);
        let client = self.pool.get().await.expect("a connection");
        sql(client.batch_execute("BEGIN").await)?;
        sql(super::enqueue(&**client, &deliveries(&added)).await)?;
        match end {
            End::Open => self.open = Some(Open { client, added }),
            End::Rollback => sql(client.batch_execute("ROLLBACK").await)?,
            End::Commit => {
                sql(client.batch_execute("COMMIT").await)?;
                self.committed(added);
            }
        }
        Ok(())
    }

    async fn end_open(&mut self, commit: bool) -> Checked {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        sql(open
            .client
            .batch_execute(if commit { "COMMIT" } else { "ROLLBACK" })
            .await)?;
        if commit {
            self.committed(open.added);
        }
        Ok(())
    }

    async fn claim(&mut self, worker: usize, want: Want, both: bool, answer: Answer) -> Checked {
        let other = self.pool.get().await.expect("a connection");
        let (one, two) = (self.workers[worker].id, self.workers[1 - worker].id);
        let number = self.workers[worker].number();
        if answer == Answer::Late {
            self.given_up.push(Question::Claim(one, number, want));
            return Ok(());
        }
        let wants = [want];
        let second = async {
            if both {
                let number = self.workers[1 - worker].number();
                super::claim(&other, two, number, &wants).await.map(Some)
            } else {
                Ok(None)
            }
        };
        let (first, second) = tokio::join!(super::claim(&self.client, one, number, &wants), second);
        let first = Some(sql(first)?).filter(|_| answer == Answer::Heard);
        let claims = [(worker, first), (1 - worker, sql(second)?)];
        for (worker, claim) in claims {
            for claimed in claim.into_iter().flat_map(|claim| claim.claimed) {
                let busy = self.workers.iter().any(|w| {
                    let outcomes = w.outcomes.iter().map(|s| &s.delivery);
                    let mut held = w.held.iter().chain(outcomes);
                    held.any(|h| h.webhook == claimed.webhook && h.lane == claimed.lane)
                });
                prop_assert!(
                    !busy,
                    "{} of webhook {} is taken twice",
                    claimed.lane.as_str(),
                    claimed.webhook
                );
                self.workers[worker].held.push(claimed);
            }
        }
        Ok(())
    }

    async fn reconcile(&mut self, worker: usize, late: bool) -> Checked {
        let (id, below) = (self.workers[worker].id, self.workers[worker].next_claim);
        let held = self.workers[worker].in_hand();
        if late {
            self.given_up.push(Question::Reconcile(id, below, held));
            return Ok(());
        }
        sql(super::reconcile(&self.client, id, below, &held).await)?;
        let leased =
            "SELECT id, fence FROM openregister_webhooks.delivery WHERE lease_owner = $1 ORDER BY id";
        let rows = sql(self.client.query(leased, &[&id.0]).await)?;
        let unknown: Vec<Lease> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let unknown: Vec<_> = unknown
            .into_iter()
            .filter(|lease| !held.contains(lease))
            .collect();
        prop_assert!(
            unknown.is_empty(),
            "leased to it, and it knows nothing: {unknown:?}"
        );
        Ok(())
    }

    fn send(&mut self, worker: usize, pick: usize, result: Sent) -> Checked {
        let held = &mut self.workers[worker].held;
        if held.is_empty() {
            return Ok(());
        }
        let delivery = held.remove(pick % held.len());
        let outcome = match result {
            Sent::Succeeds => Outcome::Succeeded,
            Sent::FailsForGood => Outcome::GivenUp,
            Sent::Fails if delivery.due => Outcome::Retry(Duration::ZERO),
            Sent::Fails => Outcome::Probed,
            Sent::HandedBack => Outcome::Released,
            Sent::PutOff => Outcome::PutOff(PUT_OFF),
        };
        if result.arrives() {
            self.arrives(&delivery, outcome.is_final())?;
        }
        let record = AttemptRecord {
            at: Utc::now(),
            duration: Duration::ZERO,
            number: delivery.attempt + 1,
            status: Some(200),
            cause: None,
            error: None,
            answer: Kept::default(),
            probe: !delivery.due,
        };
        self.workers[worker].outcomes.push(Settled {
            delivery,
            outcome,
            attempt: result.arrives().then_some(record),
            event: None,
        });
        Ok(())
    }

    /// The receiver gets it.
    fn arrives(&mut self, delivery: &Claimed, is_final: bool) -> Checked {
        let spot = spot_of(delivery);
        let event = delivery.event.seq;
        let lane = self.lanes.entry(spot).or_default();
        let place = lane.events.iter().position(|e| *e == event);
        prop_assert!(place.is_some(), "event {event} was never committed");
        let place = place.unwrap_or_default();
        prop_assert!(
            place <= lane.reached,
            "{spot:?}: event {place} is sent when only {} before it are over",
            lane.reached
        );
        if place < lane.reached {
            prop_assert!(
                self.lost.contains(&event),
                "{spot:?}: event {place} is sent again for no reason"
            );
            self.repeats += 1;
        } else if is_final {
            lane.reached += 1;
        }
        Ok(())
    }

    async fn settle(&mut self, worker: usize, most: usize, beside: Vec<Spot>, heard: bool) -> Checked {
        let outcomes = &mut self.workers[worker].outcomes;
        let new: Vec<Settled> = outcomes.drain(..most.min(outcomes.len())).collect();
        let mut batch = std::mem::take(&mut self.workers[worker].unheard);
        batch.extend(new.iter().cloned());
        let added = if self.open.is_none() {
            self.number(beside)
        } else {
            Vec::new()
        };
        let other = self.pool.get().await.expect("a connection");
        let enqueue = async {
            if !added.is_empty() {
                sql(other.batch_execute("BEGIN").await)?;
                sql(super::enqueue(&**other, &deliveries(&added)).await)?;
                sql(other.batch_execute("COMMIT").await)?;
            }
            Checked::Ok(())
        };
        let (settled, enqueued) = tokio::join!(super::settle(&mut self.client, batch.clone()), enqueue);
        let settled = sql(settled)?;
        enqueued?;
        self.committed(added);
        prop_assert_eq!(settled.lost, 0, "outcomes of a living worker are said to be lost");
        let again = settled.again;
        let passed_over: BTreeSet<Lease> = again.iter().map(Settled::lease).collect();
        let new = new.iter().filter(|s| !passed_over.contains(&s.lease()));
        self.check_put_off(new).await?;
        if !heard {
            batch.retain(|s| !passed_over.contains(&s.lease()));
            self.workers[worker].unheard = batch;
        }
        self.workers[worker].outcomes.splice(..0, again);
        Ok(())
    }

    /// What was put off for a while has used up no attempt, and is not due before.
    async fn check_put_off(&self, settled: impl Iterator<Item = &Settled>) -> Checked {
        for one in settled.filter(|s| matches!(s.outcome, Outcome::PutOff(_))) {
            let as_it_was = "SELECT lease_owner IS NULL AND attempt = $2 AND due_at > clock_timestamp() + interval '30 minutes' \
                FROM openregister_webhooks.delivery WHERE id = $1";
            let attempt = i32::try_from(one.delivery.attempt).unwrap_or(i32::MAX);
            let row = sql(self
                .client
                .query_one(as_it_was, &[&one.delivery.id, &attempt])
                .await)?;
            prop_assert!(
                row.get::<_, bool>(0),
                "put off, and {one:?} is due or has used up an attempt"
            );
        }
        Ok(())
    }

    async fn crash(&mut self, worker: usize, late: bool, in_order: bool) -> Checked {
        let id = self.workers[worker].id;
        if in_order {
            sql(leave(&self.client, id).await)?;
        } else {
            let end = "UPDATE openregister_webhooks.worker SET alive_until = '-infinity' WHERE id = $1";
            sql(self.client.execute(end, &[&id.0]).await)?;
        }
        let successor = self.born().await?;
        let dead = std::mem::replace(&mut self.workers[worker], successor);
        self.lost
            .extend(dead.outcomes.iter().map(|s| s.delivery.event.seq));
        if late {
            self.late.extend(dead.outcomes);
            self.late.extend(dead.unheard);
        }
        Ok(())
    }

    /// Outcomes count exactly where nobody has taken the row in between.
    async fn settle_late(&mut self) -> Checked {
        let batch = std::mem::take(&mut self.late);
        let settled = sql(super::settle(&mut self.client, batch).await)?;
        self.late = settled.again;
        for question in std::mem::take(&mut self.given_up) {
            match question {
                Question::Claim(worker, number, want) => {
                    sql(super::claim(&self.client, worker, number, &[want]).await)?;
                }
                Question::Reconcile(worker, below, held) => {
                    sql(super::reconcile(&self.client, worker, below, &held).await)?;
                }
            }
        }
        Ok(())
    }

    async fn all_due(&self) -> Checked {
        let due =
            "UPDATE openregister_webhooks.delivery SET due_at = clock_timestamp() WHERE lease_owner IS NULL";
        sql(self.client.execute(due, &[]).await)?;
        Ok(())
    }

    /// Of each lane the first row is its head, and no other.
    async fn check_heads(&self) -> Checked {
        let wrong = "SELECT count(*) FROM (SELECT head, id = min(id) OVER (PARTITION BY webhook, lane) AS is_first \
            FROM openregister_webhooks.delivery) d WHERE head <> is_first";
        let wrong: i64 = sql(self.client.query_one(wrong, &[]).await)?.get(0);
        prop_assert_eq!(
            wrong,
            0,
            "rows that are head and not first, or first and not head"
        );
        Ok(())
    }

    /// What is leased to a living worker is noted: that is how a lost answer is found.
    async fn check_notes(&self) -> Checked {
        let wrong = "SELECT count(*) FROM openregister_webhooks.delivery d \
            JOIN openregister_webhooks.worker w ON w.id = d.lease_owner AND w.alive_until = 'infinity' \
            WHERE NOT EXISTS (SELECT FROM openregister_webhooks.claim c, unnest(c.deliveries, c.fences) AS n(id, fence) \
                WHERE c.worker = w.id AND n.id = d.id AND n.fence = d.fence)";
        let wrong: i64 = sql(self.client.query_one(wrong, &[]).await)?.get(0);
        prop_assert_eq!(wrong, 0, "leases that are not noted");
        Ok(())
    }

    /// Everything is delivered in the end, and finished once.
    async fn finish(mut self) -> Checked<usize> {
        self.end_open(true).await?;
        self.settle_late().await?;
        // One goes on with what it knows; the other does not.
        self.crash(1, false, true).await?;
        while !self.workers[0].held.is_empty() {
            self.send(0, 0, Sent::Succeeds)?;
        }
        let left = "SELECT count(*) FROM openregister_webhooks.delivery";
        for _ in 0..=self.next_event {
            if sql(self.client.query_one(left, &[]).await)?.get::<_, i64>(0) == 0 {
                break;
            }
            self.all_due().await?;
            self.reconcile(0, false).await?;
            for webhook in 1..=WEBHOOKS {
                let want = Want {
                    webhook: WebhookId(webhook),
                    most: 100,
                    early: true,
                };
                self.claim(0, want, false, Answer::Heard).await?;
            }
            while !self.workers[0].held.is_empty() {
                self.send(0, 0, Sent::Succeeds)?;
            }
            self.settle(0, usize::MAX, Vec::new(), true).await?;
            self.check_heads().await?;
        }
        self.reconcile(0, false).await?;
        let notes = "SELECT count(*) FROM openregister_webhooks.claim";
        let notes: i64 = sql(self.client.query_one(notes, &[]).await)?.get(0);
        prop_assert_eq!(notes, 0, "notes of claims of which nothing is leased any more");
        let committed: usize = self.lanes.values().map(|lane| lane.events.len()).sum();
        for (spot, lane) in &self.lanes {
            prop_assert_eq!(lane.reached, lane.events.len(), "{:?} is not finished", spot);
        }
        let log = "SELECT count(*), count(DISTINCT (webhook, lane, event_seq)) FROM openregister_webhooks.delivery_log \
            WHERE state IN ('succeeded', 'given_up')";
        let row = sql(self.client.query_one(log, &[]).await)?;
        prop_assert_eq!(
            row.get::<_, i64>(0),
            i64::try_from(committed).unwrap_or(-1),
            "rows of the log"
        );
        prop_assert_eq!(
            row.get::<_, i64>(1),
            i64::try_from(committed).unwrap_or(-1),
            "deliveries in the log"
        );
        Ok(self.repeats)
    }
}

fn deliveries(added: &[(Spot, i64)]) -> Vec<NewDelivery> {
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

fn spot_of(delivery: &Claimed) -> Spot {
    let lane = delivery.lane.as_str().trim_start_matches("object:");
    (delivery.webhook.0, lane.parse().unwrap_or(u8::MAX))
}

/// The value of an environment variable that is a number.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(cases: u32, steps: usize) {
    let seed = number("ORW_TEST_SEED").unwrap_or(20_261_125);
    let cases = number("ORW_TEST_CASES")
        .and_then(|n| n.try_into().ok())
        .unwrap_or(cases);
    let postgres = PrivatePostgres::start(Programs::find().expect("PostgreSQL"), Options::default())
        .expect("PostgreSQL");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let url = postgres.url(SUPERUSER, "postgres");
    let config = orw_egress::client_config(None).expect("TLS");
    let pool = Database::new(&url.into(), config)
        .and_then(|database| database.pool(4))
        .expect("a pool");
    runtime.block_on(async {
        let client = pool.get().await.expect("a connection");
        for schema in [
            "CREATE SCHEMA openregister_webhooks",
            include_str!("../../../sql/migrations/0002_event.sql"),
            include_str!("../../../sql/migrations/0004_delivery.sql"),
            include_str!("../../../sql/migrations/0011_lane_index.sql"),
            include_str!("../../../sql/migrations/0012_attempt_headers.sql"),
            include_str!("../../../sql/migrations/0017_claims.sql"),
        ] {
            client.batch_execute(schema).await.expect("the schema");
        }
    });
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let repeats = std::cell::Cell::new(0);
    let result = runner.run(&prop::collection::vec(step(), 1..steps), |steps| {
        runtime.block_on(async {
            let mut world = World::new(&pool).await?;
            for step in steps {
                world.step(step).await?;
            }
            repeats.set(repeats.get() + world.finish().await?);
            Ok(())
        })
    });
    match result {
        Ok(()) => println!(
            "seed {seed}: {cases} schedules, {} repeats after lost outcomes",
            repeats.get()
        ),
        Err(TestError::Fail(reason, steps)) => panic!("seed {seed} (ORW_TEST_SEED): {reason}\n{steps:#?}"),
        Err(TestError::Abort(reason)) => panic!("seed {seed}: {reason}"),
    }
}

#[test]
fn successes_are_in_commit_order_whatever_happens() {
    run(32, 80);
}

/// The full size; `make soak`.
#[test]
#[ignore = "takes minutes: make soak"]
fn soak_successes_are_in_commit_order_whatever_happens() {
    run(3000, 200);
}
