//! Answers of the database are lost at random, at every step: no lane is forgotten, order is kept, and nothing is sent
//! twice without a reason.
//!
//! `ORW_TEST_SEED` and `ORW_TEST_CASES` choose other schedules, and how many. The n-th schedule has the seed n later, so that
//! one can be run alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use openregister_webhooks::delivery::Options;
use openregister_webhooks::registry::{Status, WebhookId};

use super::rig::{Rig, Running, delivery, webhook};
use crate::support::dice::Dice;
use crate::support::lossy::{self, How, Loss, Lossy, Statement};
use crate::support::postgres::NEXTCLOUD;
use crate::support::receiver::{Answer, Receiver, https};
use crate::support::wait::{PATIENCE, number};

/// The statements whose answers are lost; one that is listed twice is chosen twice as often.
const LOST: [Statement; 12] = [
    Statement::Claim,
    Statement::Commit,
    Statement::Claim,
    Statement::Claim,
    Statement::Own,
    Statement::Record,
    Statement::Release,
    Statement::Release,
    Statement::Promote,
    Statement::Renew,
    Statement::Reconcile,
    Statement::Read,
];

const LANES: usize = 8;
const EACH: usize = 5;
/// `read_ahead`: bytes of events that are read with their leases.
fn options(read_ahead: u64) -> Options {
    Options {
        read_ahead,
        poll: Duration::from_millis(500),
        reconcile: Duration::from_millis(200),
        query_timeout: Duration::from_secs(2),
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_leave_no_lane_behind() {
    run(24, 4).await;
}

/// The full size; `make soak`. A lane waits as long as an answer is waited for, and until the next look; where a heartbeat was
/// lost, until the lease ends (15 s after it).
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make soak"]
async fn soak_lost_answers_leave_no_lane_behind() {
    run(2_000, 16).await;
}

/// So many schedules, so many at a time.
async fn run(schedules: u64, at_a_time: usize) {
    let chosen = |name| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let first = chosen("ORW_TEST_SEED").unwrap_or(20_261_128);
    let end = first + chosen("ORW_TEST_CASES").unwrap_or(schedules);
    println!("seeds {first} to {} (ORW_TEST_SEED)", end - 1);
    let next = Arc::new(AtomicU64::new(first));
    let mut places = tokio::task::JoinSet::new();
    for _ in 0..at_a_time {
        let next = Arc::clone(&next);
        places.spawn(async move {
            let place = Place::new().await;
            let mut total = Total::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    total.lost = place.way.lost();
                    return total;
                }
                place.schedule(seed, &mut total).await;
            }
        });
    }
    let mut total = Total::default();
    for place in places.join_all().await {
        total.add(place);
    }
    println!("{total:#?}");
    // A few schedules need not come to all of them.
    let planned = if total.schedules > 200 {
        &LOST[..]
    } else {
        &LOST[..2]
    };
    for statement in planned {
        assert!(
            total.lost.contains_key(statement),
            "no answer to {statement:?} was lost"
        );
    }
}

/// What all schedules came to.
#[derive(Debug, Default)]
struct Total {
    schedules: usize,
    requests: usize,
    repeats: usize,
    /// Schedules in which the worker lost its leases.
    lease_lost: usize,
    longest: Duration,
    lost: HashMap<Statement, usize>,
}

impl Total {
    fn add(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.requests += other.requests;
        self.repeats += other.repeats;
        self.lease_lost += other.lease_lost;
        self.longest = self.longest.max(other.longest);
        for (statement, count) in other.lost {
            *self.lost.entry(statement).or_default() += count;
        }
    }
}

/// Where schedules run, one after another.
struct Place {
    rig: Rig,
    receiver: Receiver,
    way: Lossy,
}

impl Place {
    async fn new() -> Self {
        let (rig, receiver) = tokio::join!(Rig::new(), https());
        let way = lossy::before(&rig.db);
        Self { rig, receiver, way }
    }

    async fn schedule(&self, seed: u64, total: &mut Total) {
        let mut dice = Dice::new(seed);
        self.clear().await;
        let losses: Vec<Loss> = (0..=dice.roll(4)).map(|_| loss(&mut dice)).collect();
        let what = format!("seed {seed} (ORW_TEST_SEED, with ORW_TEST_CASES=1), {losses:?}");
        self.way.plan(losses);
        let in_flight = u32::try_from(2 + dice.roll(4)).unwrap();
        let mut hook = webhook(1, self.receiver.url("/"));
        hook.limits.max_in_flight = in_flight;
        hook.limits.timeout = PATIENCE;
        self.rig.webhooks.put(hook);
        let delay = Duration::from_millis(dice.roll(6));
        self.receiver
            .always(Answer::After(delay, Box::new(Answer::Status(200))));
        let read_ahead = dice.pick(&[0, 200, 1 << 20]);
        let began = Instant::now();
        let url = self.way.url(NEXTCLOUD, self.rig.db.name());
        let running = self
            .rig
            .dispatcher_over(&url, &self.receiver.ca_pem(), options(read_ahead));
        // Some of it while the dispatcher is at work; pausing makes it hand leases back.
        self.fill(0..LANES / 2).await;
        running.wake(1);
        if dice.roll(2) == 0 {
            self.receiver.wait_for(1, PATIENCE).await.unwrap();
            self.pause(&running, began, &what).await;
        }
        self.fill(LANES / 2..LANES).await;
        running.wake(1);
        self.until_empty(
            "SELECT count(*) FROM openregister_webhooks.delivery",
            began,
            &what,
        )
        .await;
        self.until_empty("SELECT count(*) FROM openregister_webhooks.claim", began, &what)
            .await;
        let workers = self
            .rig
            .count("SELECT count(*) FROM openregister_webhooks.worker")
            .await;
        running.stop().await;
        total.longest = total.longest.max(began.elapsed());
        total.schedules += 1;
        total.lease_lost += usize::from(workers > 1);
        total.requests += self.receiver.count();
        total.repeats += self.check(usize::try_from(workers).unwrap(), &what);
    }

    /// Resets the scene for the next schedule.
    async fn clear(&self) {
        let clear = "TRUNCATE openregister_webhooks.delivery, openregister_webhooks.delivery_log, \
            openregister_webhooks.attempt, openregister_webhooks.event, openregister_webhooks.worker, \
            openregister_webhooks.webhook_owner, openregister_webhooks.webhook_health, openregister_webhooks.claim";
        let client = self.rig.pool.get().await.unwrap();
        client.batch_execute(clear).await.unwrap();
        self.receiver.forget();
    }

    async fn fill(&self, lanes: std::ops::Range<usize>) {
        let mut new = Vec::new();
        for lane in lanes {
            let object = format!("o{lane}");
            let events = self.rig.events(&object, 0..EACH).await;
            new.extend(events.into_iter().map(|event| delivery(1, &object, event)));
        }
        self.rig.enqueue(&new).await;
    }

    /// The webhook is paused until nothing is leased, and goes on.
    async fn pause(&self, running: &Running, began: Instant, what: &str) {
        let id = WebhookId(1);
        self.rig.webhooks.change(id, |hook| hook.status = Status::Paused);
        running.wake(1);
        let leased = "SELECT count(*) FROM openregister_webhooks.delivery WHERE lease_owner IS NOT NULL";
        self.until_empty(leased, began, what).await;
        self.rig.webhooks.change(id, |hook| hook.status = Status::Enabled);
    }

    async fn until_empty(&self, sql: &str, began: Instant, what: &str) {
        let client = self.rig.pool.get().await.unwrap();
        while number(&client, sql).await > 0 {
            if began.elapsed() > PATIENCE {
                let left =
                    "SELECT coalesce(string_agg(d::text, E'\\n'), '') FROM openregister_webhooks.delivery d";
                let left: String = client.query_one(left, &[]).await.unwrap().get(0);
                panic!("{what}: {sql}:\n{left}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asserts that everything came in order, and was repeated only if a worker lost its leases, and then only what it had in
    /// hand: the last of its lane that was sent. Returns the number of repeats.
    fn check(&self, workers: usize, what: &str) -> usize {
        let mut reached: BTreeMap<String, usize> = BTreeMap::new();
        let mut times: HashMap<String, usize> = HashMap::new();
        let mut repeats = 0;
        for received in self.receiver.received() {
            let id = received.header("webhook-id").to_owned();
            let (object, number) = id.strip_prefix("evt_").unwrap().split_once('_').unwrap();
            let number: usize = number.parse().unwrap();
            let next = reached.entry(object.to_owned()).or_default();
            let count = times.entry(id.clone()).or_default();
            *count += 1;
            if *count == 1 {
                assert_eq!(number, *next, "{what}: {id} is out of order");
                *next += 1;
            } else {
                repeats += 1;
                assert_eq!(number + 1, *next, "{what}: {id} again after what followed it");
                assert!(
                    *count <= workers,
                    "{what}: {id} came {count} times, and the leases were lost {} times",
                    workers - 1
                );
            }
        }
        assert_eq!(reached.len(), LANES, "{what}: {reached:?}");
        assert!(reached.values().all(|n| *n == EACH), "{what}: {reached:?}");
        repeats
    }
}

/// A loss at random.
fn loss(dice: &mut Dice) -> Loss {
    let statement = dice.pick(&LOST);
    let after = match statement {
        // The only batch, mostly.
        Statement::Release => 0,
        Statement::Renew => dice.roll(2),
        _ => dice.roll(6),
    };
    // Longer than the dispatcher waits, or not.
    let longest = dice.pick(&[300, 300, 300, 3_000]);
    let time = Duration::from_millis(20 + dice.roll(longest));
    let how = match dice.roll(8) {
        0..=2 => How::Drop,
        3 => How::DropAll,
        4 | 5 => How::Stall(time),
        _ => How::Late(time),
    };
    Loss {
        statement,
        after,
        how,
    }
}
