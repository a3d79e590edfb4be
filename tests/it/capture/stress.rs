//! The reader under stress: 32 writers, transactions of random length with savepoints, rollbacks and pauses, while the
//! reader is aborted and started again. What it reads is recorded in its own transaction, so nothing may come twice.
//!
//! Every change of an object raises its `age` by one, in the row itself: the ages that a row's images show are 1 to n in
//! order, whatever was rolled back in between.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use openregister_webhooks::capture::{self, BatchTransaction, CaptureStatus, Change, Consumer};
use orw_testkit::Generation;
use tokio::sync::watch;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::support::capture::{database, install, options, settings};
use crate::support::postgres::{Db, NEXTCLOUD, connect};

const TABLE: &str = "oc_openregister_table_1_1";

/// Records in the transaction that moves the position.
struct Ledger;

impl Consumer for Ledger {
    type Error = Infallible;

    async fn consume(&mut self, tx: &BatchTransaction<'_>, changes: Vec<Change>) -> Result<(), Infallible> {
        let keys: Vec<String> = changes.iter().map(|c| format!("{:?}", c.key)).collect();
        let images: Vec<String> = changes.iter().map(|c| c.new.clone().unwrap()).collect();
        tx.execute(
            "INSERT INTO public.ledger (key, uuid, age, tag) SELECT key, image::json ->> '_uuid', (image::json ->> 'age')::int, \
             image::json ->> 'name' FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS c (key, image, n) ORDER BY n",
            &[&keys, &images],
        )
        .await
        .unwrap();
        Ok(())
    }

    fn committed(&mut self) {}
}

/// splitmix64: a seed tells the whole story of one writer.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }
}

/// One transaction; gives how many changes it committed.
async fn transaction(client: &Client, dice: &mut Dice, objects: u64, undone: &mut Vec<String>) -> u64 {
    let mut targets: Vec<u64> = (0..=dice.roll(8)).map(|_| dice.roll(objects)).collect();
    // In one order, so that writers wait for each other but never deadlock.
    targets.sort_unstable();
    let (mut kept, mut tags) = (0, Vec::new());
    client.batch_execute("BEGIN").await.unwrap();
    for target in targets {
        let tag = crate::support::rows::token();
        let update = format!("UPDATE {TABLE} SET age = age + 1, name = '{tag}' WHERE _uuid = 'o{target}'");
        match dice.roll(6) {
            0 => {
                let undo = format!("SAVEPOINT s; {update}; ROLLBACK TO SAVEPOINT s; RELEASE SAVEPOINT s");
                client.batch_execute(&undo).await.unwrap();
                undone.push(tag);
            }
            1 => {
                let nested = format!("SAVEPOINT s; {update}; RELEASE SAVEPOINT s");
                client.batch_execute(&nested).await.unwrap();
                kept += 1;
                tags.push(tag);
            }
            _ => {
                client.batch_execute(&update).await.unwrap();
                kept += 1;
                tags.push(tag);
            }
        }
    }
    if dice.roll(60) == 0 {
        // The transaction is held open: this pause is the purpose, not a wait for a condition.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    if dice.roll(8) == 0 {
        client.batch_execute("ROLLBACK").await.unwrap();
        undone.extend(tags);
        return 0;
    }
    client.batch_execute("COMMIT").await.unwrap();
    kept
}

async fn stress(writers: u64, changes: u64, aborts: u64) {
    let seed = std::env::var("ORW_TEST_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(20_261_124);
    println!("seed {seed} (ORW_TEST_SEED)");
    let objects = 500;
    let db = Db::openregister(Generation::V0_2_13).await;
    install(&db, &options()).await;
    let client = db.client().await;
    client
        .batch_execute(
            "CREATE TABLE ledger (n bigint GENERATED ALWAYS AS IDENTITY, key text, uuid text, age integer, tag text); \
             INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, age) \
             SELECT 'o' || i, '1', '1', 0 FROM generate_series(0, 499) i",
        )
        .await
        .unwrap();
    let file = "SELECT string_agg(pg_relation_filenode('openregister_webhooks.change_' || i)::text, ',' ORDER BY i) FROM generate_series(0, 2) i";
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut tasks = Vec::new();
    for n in 0..writers {
        let (writer, done, stop) = (
            connect(&db.url(NEXTCLOUD)).await,
            Arc::clone(&done),
            Arc::clone(&stop),
        );
        tasks.push(tokio::spawn(async move {
            let (mut dice, mut undone) = (Dice(seed ^ n.wrapping_mul(0x1234_5678_9ABC_DEF1)), Vec::new());
            while !stop.load(Ordering::Relaxed) {
                let kept = transaction(&writer, &mut dice, objects, &mut undone).await;
                done.fetch_add(kept, Ordering::Relaxed);
            }
            undone
        }));
    }

    // Each reader is aborted when a random share of the changes is written; the last one reads to the end.
    let mut dice = Dice(seed);
    let (mut files, mut emptied) = (client.query_one(file, &[]).await.unwrap().get::<_, String>(0), 0);
    for reader in 0..=aborts {
        let (status, mut leading) = watch::channel(CaptureStatus::Away(String::new()));
        let end = CancellationToken::new();
        let small = capture::CaptureSettings {
            batch_size: 200,
            ..settings()
        };
        let task = tokio::spawn(capture::run(
            database(&db, NEXTCLOUD),
            small,
            Ledger,
            status,
            capture::LossNotices::default(),
            end.clone(),
        ));
        let led = leading.wait_for(|status| *status == CaptureStatus::Leading);
        tokio::time::timeout(Duration::from_secs(60), led)
            .await
            .unwrap()
            .unwrap();
        let share = changes * (reader + 1) / (aborts + 1);
        let until = share.saturating_sub(dice.roll(changes / (aborts + 1) / 2 + 1));
        let began = std::time::Instant::now();
        loop {
            let now: String = client.query_one(file, &[]).await.unwrap().get(0);
            emptied += files
                .split(',')
                .zip(now.split(','))
                .filter(|(a, b)| a != b)
                .count();
            files = now;
            // The order matters: the count is read after looking whether writers have ended, so it is complete.
            let ended = tasks.iter().all(tokio::task::JoinHandle::is_finished);
            let written = done.load(Ordering::Relaxed);
            let read: i64 = client
                .query_one("SELECT count(*) FROM ledger WHERE age > 0", &[])
                .await
                .unwrap()
                .get(0);
            // On a fast machine, writing continues until tables have been emptied during the test.
            if reader == aborts && written >= changes && emptied >= 2 {
                stop.store(true, Ordering::Relaxed);
            }
            let enough = if reader < aborts {
                written >= until
            } else {
                written >= changes && ended && read.cast_unsigned() >= written
            };
            if enough {
                break;
            }
            assert!(
                began.elapsed() < Duration::from_secs(300),
                "{read} of {written} read"
            );
        }
        if reader < aborts {
            task.abort();
            let _ = task.await;
        } else {
            end.cancel();
            task.await.unwrap();
        }
    }
    let mut undone = std::collections::HashSet::new();
    for task in tasks {
        undone.extend(task.await.unwrap());
    }

    let mut ages: HashMap<String, i32> = HashMap::new();
    let mut keys = std::collections::HashSet::new();
    for row in client
        .query(
            "SELECT key, uuid, age, tag FROM ledger WHERE age > 0 ORDER BY n",
            &[],
        )
        .await
        .unwrap()
    {
        let (key, uuid, age, tag): (String, String, i32, String) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        assert!(keys.insert(key.clone()), "{key} was read twice");
        assert!(!undone.contains(&tag), "{tag} was rolled back and read");
        let last = ages.entry(uuid.clone()).or_insert(0);
        assert_eq!(age, *last + 1, "{uuid}: out of order, or a gap");
        *last = age;
    }
    for row in client
        .query(&format!("SELECT _uuid, age FROM {TABLE}"), &[])
        .await
        .unwrap()
    {
        let (uuid, age): (String, i32) = (row.get(0), row.get(1));
        assert_eq!(
            ages.get(&uuid).copied().unwrap_or(0),
            age,
            "{uuid}: changes are missing"
        );
    }
    let committed: i32 = ages.values().sum();
    println!(
        "{committed} changes, {} rolled back, {aborts} aborts, {emptied} tables emptied",
        undone.len()
    );
    assert!(emptied >= 2, "only {emptied} tables were emptied meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_repeated_or_reordered() {
    stress(32, 12_000, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn soak_nothing_is_lost_repeated_or_reordered() {
    stress(32, 100_000, 20).await;
}
