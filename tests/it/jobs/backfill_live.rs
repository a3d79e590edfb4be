//! A backfill among live changes of the same objects, while the process is killed: in the end the receiver knows what
//! the table knows, and no backfilled state ever came after a newer one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use orw_testkit::Generation;
use orw_testkit::receiver::Received;
use serde_json::{Value, json};

use crate::support::postgres::{NEXTCLOUD, Server, connect};
use crate::support::receiver::Answer;
use crate::support::scene::{Scene, uuid};
use crate::support::wait::PATIENCE;

struct Plan {
    objects: i32,
    writers: usize,
    /// Changes that are made at least, and as long as the backfill runs.
    changes: u64,
    kills: i64,
    patience: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_among_live_changes_ends_as_the_table_is() {
    run(Plan {
        objects: 3_000,
        writers: 3,
        changes: 1_500,
        kills: 3,
        patience: PATIENCE,
    })
    .await;
}

/// The full size; `make soak`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes half an hour: make soak"]
async fn soak_a_backfill_of_a_million_objects_among_live_changes() {
    run(Plan {
        objects: 1_000_000,
        writers: 4,
        changes: 20_000,
        kills: 10,
        patience: Duration::from_secs(7200),
    })
    .await;
}

/// What the receiver knows.
#[derive(Default)]
struct Known {
    /// The age of each object; `None`: it was deleted.
    objects: HashMap<String, Option<i64>>,
    /// Objects of which a backfilled state came after a newer one.
    overwritten: Vec<String>,
    backfilled: u64,
    /// Milliseconds from the change to the receipt.
    live: Vec<f64>,
}

impl Known {
    fn take(&mut self, request: &Received) {
        let body = request.json();
        let data = &body["data"];
        let object = if data["newObject"].is_object() {
            &data["newObject"]
        } else {
            &data["object"]
        };
        let uuid = object["uuid"].as_str().unwrap().to_owned();
        let age = object["data"]["age"].as_i64();
        let is_deleted = body["event"].as_str().unwrap().ends_with("ObjectDeletedEvent");
        if request.header("orw-reason") == "backfill" {
            self.backfilled += 1;
            match self.objects.get(&uuid) {
                Some(Some(known)) if age < Some(*known) => self.overwritten.push(uuid.clone()),
                // Only the purge of an object follows its end; no object comes back here.
                Some(None) => self.overwritten.push(uuid.clone()),
                _ => {}
            }
        } else {
            let changed: DateTime<Utc> = request.header("orw-event-time").parse().unwrap();
            self.live.push((request.at - changed).as_seconds_f64() * 1000.0);
        }
        self.objects.insert(uuid, if is_deleted { None } else { age });
    }
}

async fn run(plan: Plan) {
    let server = Server::dedicated(orw_testkit::postgres::Options::default()).await;
    let mut scene = Scene::on(server.openregister(Generation::V0_2_13).await)
        .fast()
        .installed()
        .await;
    for first in (1..=plan.objects).step_by(100_000) {
        scene.objects(first, (first + 99_999).min(plan.objects)).await;
    }
    scene
        .client
        .batch_execute("ANALYZE oc_openregister_table_1_1")
        .await
        .unwrap();
    let known = Arc::new(Mutex::new(Known::default()));
    let taking = Arc::clone(&known);
    scene.receiver.decide(move |request| {
        taking.lock().unwrap().take(request);
        Answer::Status(200)
    });
    scene.sidecar.start().await;
    let webhook = scene.register(r"OCA\OpenRegister\Event\Object*", json!({})).await;

    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..plan.writers)
        .map(|n| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            let url = scene.db.url(NEXTCLOUD);
            tokio::spawn(write(url, plan.objects, n as u64, stop, done))
        })
        .collect();

    let job = scene
        .json(&[
            "backfill",
            "--webhook",
            &webhook.to_string(),
            "--background",
            "--json",
        ])
        .await;
    let began = Instant::now();
    let mut killed = 0;
    let mut memory = Vec::new();
    let mut looked = Instant::now();
    loop {
        let (state, seen) = progress(&scene, &job).await;
        if state == "done" {
            break;
        }
        assert!(began.elapsed() < plan.patience, "{state} at {seen}");
        if seen > i64::from(plan.objects) * (killed + 1) / (plan.kills + 1) && killed < plan.kills {
            scene.sidecar.kill().await;
            scene.sidecar.start().await;
            killed += 1;
        }
        if looked.elapsed() > Duration::from_secs(10) {
            looked = Instant::now();
            let resident = scene.sidecar.kibibytes("VmRSS") / 1024;
            let pending = scene
                .count("SELECT count(*) FROM openregister_webhooks.delivery")
                .await;
            println!(
                "{:4} s: {seen} rows, {pending} pending, {resident} MiB resident",
                began.elapsed().as_secs()
            );
            memory.push(resident);
            scene.receiver.forget();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = began.elapsed();
    while done.load(Ordering::Relaxed) < plan.changes {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    // The last change is in the queue, and the queue is empty.
    scene.objects(plan.objects + 1, plan.objects + 1).await;
    let last = uuid(plan.objects + 1);
    while !known.lock().unwrap().objects.contains_key(&last)
        || scene
            .count("SELECT count(*) FROM openregister_webhooks.delivery")
            .await
            > 0
    {
        assert!(began.elapsed() < plan.patience, "not everything arrived");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let mut known = std::mem::take(&mut *known.lock().unwrap());
    known.live.sort_by(f64::total_cmp);
    let live = |share: usize| known.live[(known.live.len() - 1) * share / 100];
    println!(
        "{} rows in {took:?}, {killed} kills; {} backfilled and {} live deliveries (median {:.0} ms, 99 % {:.0} ms after the change), \
         {} changes; resident MiB: {memory:?}",
        plan.objects,
        known.backfilled,
        known.live.len(),
        live(50),
        live(99),
        done.load(Ordering::Relaxed)
    );
    assert_eq!(known.overwritten, Vec::<String>::new());
    let rows = scene
        .client
        .query(
            "SELECT _uuid, CASE WHEN _deleted IS NULL THEN age::int8 END FROM oc_openregister_table_1_1",
            &[],
        )
        .await
        .unwrap();
    let mut differ = Vec::new();
    let mut there = 0;
    for row in &rows {
        let (uuid, age): (String, Option<i64>) = (row.get(0), row.get(1));
        // An object that was deleted before the backfill reached it was never sent.
        if known.objects.get(&uuid).copied().flatten() != age {
            differ.push((uuid, age));
        }
        there += usize::from(age.is_some());
    }
    assert_eq!(differ, Vec::new());
    let kept = known.objects.values().filter(|age| age.is_some()).count();
    assert_eq!(kept, there, "the receiver knows objects that are gone");
    assert_eq!(killed, plan.kills);
    if let (Some(most), Some(early)) = (memory.iter().max(), memory.get(1)) {
        assert!(*most < early + 128, "memory grows: {memory:?} MiB");
    }
}

async fn progress(scene: &Scene, job: &Value) -> (String, i64) {
    let sql = "SELECT state, seen FROM openregister_webhooks.job WHERE id = $1";
    let row = scene
        .client
        .query_one(sql, &[&job["id"].as_i64().unwrap()])
        .await
        .unwrap();
    (row.get(0), row.get(1))
}

/// Changes of objects anywhere, a few of them deletions: softly, or for good.
async fn write(url: String, objects: i32, seed: u64, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) {
    let client = connect(&url).await;
    let mut dice = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while !stop.load(Ordering::Relaxed) {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let object = uuid(1 + i32::try_from(dice % u64::try_from(objects).unwrap()).unwrap());
        let sql = match dice >> 32 & 63 {
            0 => "DELETE FROM oc_openregister_table_1_1 WHERE _uuid = $1",
            1 => {
                "UPDATE oc_openregister_table_1_1 SET _deleted = '{\"deletedBy\": \"bob\"}' WHERE _uuid = $1 AND _deleted IS NULL"
            }
            _ => "UPDATE oc_openregister_table_1_1 SET age = age + 1 WHERE _uuid = $1 AND _deleted IS NULL",
        };
        done.fetch_add(client.execute(sql, &[&object]).await.unwrap(), Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
