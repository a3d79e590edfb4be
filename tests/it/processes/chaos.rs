//! No loss, no invented event, and order per object, while the sidecar is killed and PostgreSQL restarts.
//!
//! Every committed change of an object raises its `age` by one, so what must arrive is known from the table alone: for an
//! object whose age ends at n, the ages 1 to n, in order. Every statement writes a tag of its own; the tags of what was
//! rolled back must never be seen.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orw_testkit::Generation;
use orw_testkit::postgres::Options;
use orw_testkit::receiver::Received;
use tokio_postgres::NoTls;

use crate::support::dice::Dice;
use crate::support::leases;
use crate::support::postgres::{NEXTCLOUD, Server};
use crate::support::scene::Scene;
use crate::support::wait::{PATIENCE, number, until};

struct Plan {
    writers: usize,
    changes: usize,
    objects: usize,
    kills: usize,
    restarts: usize,
    /// The longest that a transaction is held open.
    held: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_invented_or_reordered_while_processes_die() {
    let plan = Plan {
        writers: 12,
        changes: 4_000,
        objects: 100,
        kills: 3,
        restarts: 1,
        held: Duration::from_millis(800),
    };
    run(plan).await;
}

/// The full size; `make soak`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn soak_nothing_is_lost_invented_or_reordered_while_processes_die() {
    let plan = Plan {
        writers: 32,
        changes: 50_000,
        objects: 500,
        kills: 10,
        restarts: 2,
        held: Duration::from_secs(4),
    };
    run(plan).await;
}

/// What the writers did.
#[derive(Default)]
struct Written {
    /// Statements that may be committed.
    done: AtomicUsize,
    /// Tags of statements that are surely rolled back.
    undone: Mutex<HashSet<String>>,
}

async fn run(plan: Plan) {
    let seed: u64 = std::env::var("ORW_TEST_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(20_261_124);
    println!("seed {seed} (ORW_TEST_SEED)");
    let server = Server::dedicated(Options::default()).await;
    let db = server.openregister(Generation::V0_2_13).await;
    let url = db.url(NEXTCLOUD);
    let scene = Scene::on(db).fast();
    let mut scene = scene
        .with("ORW_RETRY_SCHEDULE", "1s,1s,1s,1s,1s,1s,1s,1s,1s,1s")
        .running()
        .await;
    scene
        .register(
            r"OCA\OpenRegister\Event\ObjectUpdatedEvent",
            serde_json::json!({}),
        )
        .await;

    scene
        .client
        .execute(
            "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _created, _updated, name, age) \
             SELECT format('00000000-0000-4000-8000-%s', lpad(g::text, 12, '0')), '1', '1', now(), now(), 'start', 0 \
             FROM generate_series(1, $1::int) g",
            &[&i32::try_from(plan.objects).unwrap()],
        )
        .await
        .unwrap();

    let written = Arc::new(Written::default());
    let tags = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..plan.writers)
        .map(|n| {
            let writer = Writer {
                url: url.clone(),
                written: Arc::clone(&written),
                tags: Arc::clone(&tags),
                dice: Dice::new(seed ^ (n as u64).wrapping_mul(0x1234_5678_9ABC_DEF1)),
                objects: plan.objects as u64,
                changes: plan.changes,
                held: plan.held,
            };
            tokio::spawn(writer.run())
        })
        .collect();

    // The faults are spread over the writing, by what was written and not by the clock.
    let faults = plan.kills + plan.restarts;
    let mut restarts = 0;
    for fault in 0..faults {
        let due = plan.changes * (fault + 1) / (faults + 1);
        until("so much is written", async || {
            written.done.load(Ordering::Relaxed) >= due
        })
        .await;
        let restart = restarts < plan.restarts && fault * plan.restarts >= restarts * faults + faults / 2;
        if restart {
            restarts += 1;
            let postgres = Arc::clone(&server.postgres);
            let crash = restarts % 2 == 0;
            tokio::task::spawn_blocking(move || {
                if crash { postgres.kill() } else { postgres.stop() }.unwrap();
                postgres.resume().unwrap();
            })
            .await
            .unwrap();
            println!(
                "PostgreSQL restarted at {due} changes ({})",
                if crash { "crash" } else { "stop" }
            );
        } else {
            scene.sidecar.kill().await;
            scene.sidecar.spawn();
            println!("sidecar killed at {due} changes");
        }
    }
    assert_eq!(restarts, plan.restarts);
    for writer in writers {
        writer.await.unwrap();
    }
    scene.sidecar.wait_ready().await;

    let client = scene.db.client().await;
    let mut expected = HashMap::new();
    for row in client
        .query("SELECT _uuid, age FROM oc_openregister_table_1_1", &[])
        .await
        .unwrap()
    {
        expected.insert(row.get::<_, String>(0), i64::from(row.get::<_, i32>(1)));
    }
    let committed: i64 = expected.values().sum();
    println!(
        "{committed} committed changes, {} statements rolled back",
        written.undone.lock().unwrap().len()
    );
    assert!(
        committed >= i64::try_from(plan.changes).unwrap() * 9 / 10,
        "the writers wrote too little"
    );

    until("everything has arrived and nothing is pending", async || {
        leases::all_are_noted(&client).await;
        let arrived = distinct(&scene.receiver.received());
        number(&client, "SELECT count(*) FROM openregister_webhooks.delivery").await == 0
            && arrived >= usize::try_from(committed).unwrap()
    })
    .await;
    leases::none_is_left(&client, &[&scene.sidecar], PATIENCE).await;
    let repeats = check(
        &scene.receiver.received(),
        &expected,
        &written.undone.lock().unwrap(),
    );
    println!(
        "{} requests for {committed} changes: {repeats} repeats",
        scene.receiver.count()
    );
    assert_eq!(scene.sidecar.terminate().await, Some(0));
}

fn distinct(received: &[Received]) -> usize {
    received
        .iter()
        .map(|r| r.header("webhook-id").to_owned())
        .collect::<HashSet<_>>()
        .len()
}

/// Everything arrived, nothing else, in order; returns the number of repeats.
fn check(received: &[Received], expected: &HashMap<String, i64>, undone: &HashSet<String>) -> usize {
    let mut last: HashMap<String, i64> = HashMap::new();
    let mut ids: HashMap<(String, i64), String> = HashMap::new();
    let mut repeats = 0;
    for request in received {
        let body = request.json();
        let data = &body["data"];
        let uuid = data["newObject"]["uuid"].as_str().unwrap().to_owned();
        let age = data["newObject"]["data"]["age"].as_i64().unwrap();
        assert_eq!(
            data["oldObject"]["data"]["age"].as_i64(),
            Some(age - 1),
            "{uuid}: the state before"
        );
        let tag = data["newObject"]["data"]["name"].as_str().unwrap();
        assert!(!undone.contains(tag), "{uuid}: {tag} was rolled back and arrived");
        let id = request.header("webhook-id").to_owned();
        let seen = last.entry(uuid.clone()).or_insert(0);
        if let Some(first) = ids.get(&(uuid.clone(), age)) {
            assert_eq!(*first, id, "{uuid} at {age}: a repeat with another webhook-id");
            repeats += 1;
        } else {
            assert_eq!(age, *seen + 1, "{uuid}: out of order, or a gap");
            *seen = age;
            ids.insert((uuid, age), id);
        }
    }
    for (uuid, age) in expected {
        assert_eq!(
            last.get(uuid).copied().unwrap_or(0),
            *age,
            "{uuid}: changes are missing"
        );
    }
    repeats
}

struct Writer {
    url: String,
    written: Arc<Written>,
    tags: Arc<AtomicU64>,
    dice: Dice,
    objects: u64,
    changes: usize,
    held: Duration,
}

impl Writer {
    async fn run(mut self) {
        while self.written.done.load(Ordering::Relaxed) < self.changes {
            let Ok((mut client, connection)) = tokio_postgres::connect(&self.url, NoTls).await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let driver = tokio::spawn(connection);
            while self.written.done.load(Ordering::Relaxed) < self.changes {
                if self.transaction(&mut client).await.is_err() && client.is_closed() {
                    break;
                }
            }
            driver.abort();
        }
    }

    /// One transaction of random length. An error before COMMIT means that nothing of it is there; an error at COMMIT
    /// leaves it open, and then nothing is said of its tags.
    async fn transaction(
        &mut self,
        client: &mut tokio_postgres::Client,
    ) -> Result<(), tokio_postgres::Error> {
        let length = 1 + self.dice.roll(8);
        // In one order, so that writers wait for each other but never deadlock.
        let mut targets: Vec<u64> = (0..length).map(|_| 1 + self.dice.roll(self.objects)).collect();
        targets.sort_unstable();
        let mut pending = Vec::new();
        let outcome = self.body(client, &targets, &mut pending).await;
        let mut undone = self.written.undone.lock().unwrap();
        match outcome {
            Ok(Some(tx_tags)) => {
                self.written.done.fetch_add(tx_tags, Ordering::Relaxed);
                Ok(())
            }
            Ok(None) => {
                undone.extend(pending);
                Ok(())
            }
            Err((at_commit, error)) => {
                if !at_commit {
                    undone.extend(pending);
                }
                Err(error)
            }
        }
    }

    async fn body(
        &mut self,
        client: &mut tokio_postgres::Client,
        targets: &[u64],
        pending: &mut Vec<String>,
    ) -> Result<Option<usize>, (bool, tokio_postgres::Error)> {
        let before = |error| (false, error);
        let tx = client.transaction().await.map_err(before)?;
        let mut statements = 0;
        for target in targets {
            let savepoint = self.dice.roll(6) == 0;
            if savepoint {
                tx.batch_execute("SAVEPOINT s").await.map_err(before)?;
            }
            let tag = format!("t{}", self.tags.fetch_add(1, Ordering::Relaxed));
            tx.execute(
                "UPDATE oc_openregister_table_1_1 SET age = age + 1, name = $2, _updated = clock_timestamp() \
                 WHERE _uuid = format('00000000-0000-4000-8000-%s', lpad($1, 12, '0'))",
                &[&target.to_string(), &tag],
            )
            .await
            .map_err(before)?;
            if savepoint && self.dice.roll(2) == 0 {
                tx.batch_execute("ROLLBACK TO SAVEPOINT s")
                    .await
                    .map_err(before)?;
                self.written.undone.lock().unwrap().insert(tag);
            } else {
                pending.push(tag);
                statements += 1;
            }
        }
        match self.dice.roll(100) {
            0 | 1 => {
                let held = self
                    .held
                    .mul_f64(0.25 + 0.75 * (self.dice.roll(100) as f64 / 100.0));
                tokio::time::sleep(held).await;
            }
            2..=11 => {
                tx.rollback().await.map_err(before)?;
                return Ok(None);
            }
            _ => {}
        }
        tx.commit().await.map_err(|error| (true, error))?;
        Ok(Some(statements))
    }
}
