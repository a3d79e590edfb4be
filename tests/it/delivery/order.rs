//! Order per object under random schedules of failures, timeouts and crashes of two processes.
//!
//! `ORW_TEST_SEED` chooses another schedule.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use openregister_webhooks::delivery::Options;
use openregister_webhooks::registry::Ordering;
use tokio::runtime::Runtime;

use super::rig::{Rig, delivery, webhook};
use crate::support::leases;
use crate::support::receiver::{Answer, https};

const LANES: usize = 40;
const EACH: usize = 25;
const FINISHED: &str = "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE state = 'succeeded'";
/// Schedules of the long test.
const SCHEDULES: u64 = 20;

/// Repeatable random numbers.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        self.0 = hasher.finish();
        (self.0 >> 16) % sides
    }
}

/// A process: everything on its runtime ends with it, as with SIGKILL.
fn process(rig: &Rig, ca_pem: &str) -> Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let options = Options {
        poll: Duration::from_millis(200),
        ..Options::default()
    };
    drop(rig.dispatcher_with(ca_pem, options));
    runtime
}

fn seed() -> u64 {
    let given = std::env::var("ORW_TEST_SEED").ok();
    given.and_then(|seed| seed.parse().ok()).unwrap_or(7)
}

#[tokio::test(flavor = "multi_thread")]
async fn successes_come_in_order_without_gaps_through_failures_and_kills() {
    run(seed()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make soak"]
async fn soak_order_over_random_schedules() {
    for seed in (seed()..).take(SCHEDULES as usize) {
        run(seed).await;
    }
}

/// The fate of a request, from the seed, the event and the attempt.
fn answer(seed: u64, id: &str, attempt: &str) -> Answer {
    let mut hasher = DefaultHasher::new();
    (seed, id, attempt).hash(&mut hasher);
    match hasher.finish() % 100 {
        0..8 => Answer::Status(500),
        8..10 => Answer::Cut,
        10..12 => Answer::CutInBody,
        12 => Answer::Hang,
        13..25 => Answer::After(Duration::from_millis(20), Box::new(Answer::Status(200))),
        _ => Answer::Status(200),
    }
}

async fn run(seed: u64) {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    let ca = receiver.ca_pem();
    let mut hook = webhook(1, receiver.url("/"));
    hook.limits.timeout = Duration::from_millis(500);
    hook.retry.max_attempts = u32::MAX;
    hook.retry.schedule = vec![Duration::from_millis(5), Duration::from_millis(50)];
    assert_eq!(hook.ordering, Ordering::Object);
    rig.webhooks.put(hook);
    receiver.decide(move |r| answer(seed, r.header("webhook-id"), r.header("orw-attempt")));

    let mut events = vec![];
    for lane in 0..LANES {
        events.push(rig.events(&format!("o{lane}"), 0..EACH).await);
    }
    let mut dice = Dice(seed);
    let mut crashes = 0;
    let mut processes = vec![process(&rig, &ca), process(&rig, &ca)];
    let mut next = vec![0; LANES];
    let mut left = LANES * EACH;
    while left > 0 {
        // A batch of some events of some lanes, in order within each lane.
        let mut batch = vec![];
        for _ in 0..1 + dice.roll(30) {
            let lane = dice.roll(LANES as u64) as usize;
            if next[lane] < EACH {
                let object = format!("o{lane}");
                batch.push(delivery(1, &object, events[lane][next[lane]]));
                next[lane] += 1;
                left -= 1;
            }
        }
        rig.enqueue(&batch).await;
        if dice.roll(25) == 0 {
            let victim = dice.roll(2) as usize;
            crashes += 1;
            std::mem::replace(&mut processes[victim], process(&rig, &ca)).shutdown_background();
        }
    }
    // More crashes while the rest is delivered.
    for part in 1..=dice.roll(4) as usize {
        let victim = dice.roll(2) as usize;
        let logged = LANES * EACH * part / 5;
        while rig.count(FINISHED).await < logged as i64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        crashes += 1;
        std::mem::replace(&mut processes[victim], process(&rig, &ca)).shutdown_background();
    }
    let client = rig.db.client().await;
    for _ in 0..12_000 {
        leases::all_are_noted(&client).await;
        if rig
            .count("SELECT count(*) FROM openregister_webhooks.delivery")
            .await
            == 0
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    for process in processes {
        process.shutdown_background();
    }

    let mut done: BTreeMap<String, usize> = BTreeMap::new();
    let mut repeats = 0;
    for received in receiver.received() {
        let id = received
            .header("webhook-id")
            .strip_prefix("evt_")
            .unwrap()
            .to_owned();
        let (object, number) = id.split_once('_').unwrap();
        let number: usize = number.parse().unwrap();
        let reached = done.entry(object.to_owned()).or_default();
        assert!(
            number <= *reached,
            "{id} was sent before {object}_{reached} had succeeded"
        );
        // Reset in the body: the head had said 200, so that is a success too.
        let success = matches!(
            received.answer,
            Answer::Status(200) | Answer::After(..) | Answer::CutInBody
        );
        if number < *reached {
            repeats += 1;
        } else if success {
            *reached += 1;
        }
    }
    assert_eq!(done.len(), LANES);
    assert!(done.values().all(|reached| *reached == EACH), "{done:?}");
    println!(
        "seed {seed} (ORW_TEST_SEED): {} requests, {repeats} of them repeats of what had succeeded, {crashes} crashes",
        receiver.count()
    );
    assert_eq!(rig.count(FINISHED).await, (LANES * EACH) as i64);
}
