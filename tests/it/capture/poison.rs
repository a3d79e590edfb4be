//! Only the change that makes the consumer fail is quarantined; everything else arrives once, in order. Errors of the database
//! quarantine nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use openregister_webhooks::capture::{self, BatchTransaction, CaptureStatus, Change, Consumer, Fault};
use orw_testkit::Generation;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::support::capture::{PATIENCE, database, install, options, settings};
use crate::support::cli::Cli;
use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::scene;

const TABLE: &str = "oc_openregister_table_9_9";
const QUARANTINE: &str =
    "SELECT new::json ->> 'what', reason FROM openregister_webhooks.quarantine ORDER BY id";

/// Fails where a row tells it to, as a consumer with a bug would.
struct Fussy {
    pending: Vec<String>,
    seen: watch::Sender<Vec<String>>,
    aside: Arc<AtomicU32>,
    /// How often a fault of the database is still to come.
    faults: Arc<AtomicU32>,
}

#[derive(Debug, thiserror::Error)]
#[error("fussy: {0}")]
struct Fuss(#[from] tokio_postgres::Error);

impl Consumer for Fussy {
    type Error = Fuss;

    async fn consume(&mut self, tx: &BatchTransaction<'_>, changes: Vec<Change>) -> Result<(), Fuss> {
        self.pending.clear();
        for change in changes {
            let row: serde_json::Value = serde_json::from_str(change.new.as_deref().unwrap()).unwrap();
            let what = row["what"].as_str().unwrap().to_owned();
            let (kind, rest) = what.split_once(' ').unwrap();
            match kind {
                "panic" => panic!("cannot bear {rest}"),
                // The database refuses: 22P02, 22012, and 54000 for a value that is too large.
                "text" => tx.batch_execute("SELECT 'many'::text::integer").await?,
                "zero" => tx.batch_execute("SELECT 1 / 0").await?,
                "large" => raise(tx, "54000").await?,
                // The driver refuses before the database sees the value.
                "nul" => {
                    tx.batch_execute("SELECT 'a\0b'").await?;
                }
                // Not the change's fault, whatever was read.
                state if state.len() == 5 && self.faults.load(Ordering::SeqCst) > 0 => {
                    self.faults.fetch_sub(1, Ordering::SeqCst);
                    raise(tx, state).await?;
                }
                _ => {}
            }
            self.pending.push(what);
        }
        Ok(())
    }

    fn committed(&mut self) {
        let new = std::mem::take(&mut self.pending);
        self.seen.send_modify(|seen| seen.extend(new));
    }

    fn quarantined(&mut self, changes: u64) {
        self.aside
            .fetch_add(u32::try_from(changes).unwrap(), Ordering::SeqCst);
    }
}

async fn raise(tx: &Client, state: &str) -> Result<(), tokio_postgres::Error> {
    let sql = format!("DO $$ BEGIN RAISE EXCEPTION 'as told' USING ERRCODE = '{state}'; END $$");
    tx.batch_execute(&sql).await
}

/// A database with one captured table, and the fussy consumer at work on it.
struct Scene {
    db: Db,
    client: Client,
    seen: watch::Receiver<Vec<String>>,
    aside: Arc<AtomicU32>,
    shutdown: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Scene {
    async fn new() -> Self {
        let db = Db::openregister(Generation::V0_2_13).await;
        let client = db.client().await;
        let create = format!("CREATE TABLE {TABLE} (_id bigserial PRIMARY KEY, _uuid text, what text)");
        client.batch_execute(&create).await.unwrap();
        install(&db, &options()).await;
        let (_, seen) = watch::channel(Vec::new());
        Self {
            db,
            client,
            seen,
            aside: Arc::new(AtomicU32::new(0)),
            shutdown: CancellationToken::new(),
            task: None,
        }
    }

    async fn write(&self, rows: &[&str]) {
        let sql = format!("INSERT INTO {TABLE} (_uuid, what) VALUES (gen_random_uuid(), $1)");
        for what in rows {
            self.client.execute(&sql, &[what]).await.unwrap();
        }
    }

    fn read(&mut self, faults: u32) {
        let (sender, seen) = watch::channel(Vec::new());
        self.seen = seen;
        let consumer = Fussy {
            pending: Vec::new(),
            seen: sender,
            aside: Arc::clone(&self.aside),
            faults: Arc::new(AtomicU32::new(faults)),
        };
        let (status, _) = watch::channel(CaptureStatus::Standby);
        let database = database(&self.db, NEXTCLOUD);
        self.task = Some(tokio::spawn(capture::run(
            database,
            settings(),
            consumer,
            status,
            capture::LossNotices::default(),
            self.shutdown.clone(),
        )));
    }

    async fn until(&self, last: &str) -> Vec<String> {
        let mut seen = self.seen.clone();
        let last_seen = seen.wait_for(|seen| seen.iter().any(|what| what == last));
        match timeout(PATIENCE, last_seen).await {
            Ok(seen) => seen.unwrap().clone(),
            Err(_) => panic!("{last} was not read, but {:?}", self.seen.borrow()),
        }
    }

    async fn quarantine(&self) -> Vec<(String, String)> {
        let rows = self.client.query(QUARANTINE, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        if let Some(task) = self.task.take() {
            task.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_poisonous_change_goes_to_quarantine_alone_and_the_rest_goes_on_in_order() {
    let mut scene = Scene::new().await;
    let plain: Vec<String> = (0..100).map(|n| format!("fine {n}")).collect();
    let mut rows: Vec<&str> = plain.iter().map(String::as_str).collect();
    let poison = ["panic it", "text 1", "zero 2", "large 3", "nul 4"];
    // First, last, next to each other, and in the middle.
    for (at, what) in [(104, 4), (60, 3), (61, 2), (30, 1), (0, 0)] {
        rows.insert(at.min(rows.len()), poison[what]);
    }
    scene.write(&rows).await;
    scene.read(0);
    // Changes that arrive during the search are not affected.
    scene.write(&["fine later"]).await;
    let seen = scene.until("fine later").await;
    let expected: Vec<&str> = rows
        .iter()
        .copied()
        .filter(|what| what.starts_with("fine"))
        .chain(["fine later"])
        .collect();
    assert_eq!(seen, expected);
    let quarantine = scene.quarantine().await;
    let names: Vec<&str> = quarantine.iter().map(|(what, _)| what.as_str()).collect();
    let guilty: Vec<&str> = rows
        .iter()
        .copied()
        .filter(|what| !what.starts_with("fine"))
        .collect();
    assert_eq!(names, guilty);
    for (reason, said) in [
        ("panic it", "cannot bear it"),
        ("text 1", "invalid input syntax for type integer"),
        ("zero 2", "division by zero"),
        ("large 3", "as told"),
        ("nul 4", "error encoding message"),
    ] {
        let found = quarantine.iter().find(|(what, _)| what == reason).unwrap();
        assert!(found.1.contains(said), "{found:?}");
    }
    assert_eq!(scene.aside.load(Ordering::SeqCst), 5);

    // Once the cause is gone (here: the rows are repaired), one statement gives the quarantined changes to the reader again.
    scene
        .client
        .batch_execute("UPDATE openregister_webhooks.quarantine SET new = replace(new, '\"what\":\"', '\"what\":\"fine again ')")
        .await
        .unwrap();
    let count: i64 = scene
        .client
        .query_one("SELECT openregister_webhooks.retry_quarantined()", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(count, 5);
    let again = format!("fine again {}", guilty.last().unwrap());
    let seen = scene.until(&again).await;
    let expected: Vec<String> = guilty.iter().map(|what| format!("fine again {what}")).collect();
    assert_eq!(seen[seen.len() - 5..], expected);
    assert!(scene.quarantine().await.is_empty());
    scene.stop().await;
}

#[tokio::test]
async fn what_the_database_does_wrong_puts_nothing_aside() {
    // A lock, a deadlock, a conflict, no space, a shutdown, no right, no table, an I/O error, a corrupt page; a timeout
    // and an internal error, too, although fewer changes are then tried at once.
    let states = [
        "55P03", "40P01", "40001", "53100", "57P01", "42501", "42P01", "58030", "XX001", "57014", "XX000",
        "53200",
    ];
    for state in states {
        let fault = if matches!(state, "57014" | "XX000" | "53200") {
            Fault::Weight
        } else {
            Fault::Elsewhere
        };
        let mut scene = Scene::new().await;
        let rows = [format!("{state} 1"), format!("{state} 2"), "fine 3".to_owned()];
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        scene.write(&rows).await;
        scene.read(4);
        assert_eq!(scene.until("fine 3").await, rows, "{state} is {fault:?}");
        assert!(scene.quarantine().await.is_empty(), "{state}");
        scene.stop().await;
    }
}

/// The pipeline itself, at a change that it cannot store: its uuid is too long for an index.
#[tokio::test]
async fn the_sidecar_goes_on_says_so_and_counts() {
    let db = Db::openregister(Generation::V0_2_13).await;
    let client = db.client().await;
    let create =
        format!("CREATE TABLE {TABLE} (_id bigserial PRIMARY KEY, _uuid text, what text, extra json)");
    client.batch_execute(&create).await.unwrap();
    let mut scene = scene::Scene::on(db).running().await;
    scene
        .register(r"OCA\OpenRegister\Event\ObjectCreatedEvent", json!({}))
        .await;
    let (db, receiver, sidecar) = (&scene.db, &scene.receiver, &mut scene.sidecar);
    // These keys once made parsing fail: a key that a library uses internally is a user's key like any other.
    let extra = r#"{"$serde_json::private::Number":"many","a":[{"$serde_json::private::RawValue":"{"}]}"#;
    let insert = format!("INSERT INTO {TABLE} (_uuid, what, extra) VALUES ($1, $2, '{extra}')");
    // Incompressible, so that it is too large for a page of an index.
    let long: String = (0..500)
        .map(|n| format!("{:032x}", u128::from_le_bytes(digest(n))))
        .collect();
    let tx_rows = [("first", "1"), (long.as_str(), "2"), ("last", "3")];
    for (uuid, what) in tx_rows {
        client.execute(&insert, &[&uuid, &what]).await.unwrap();
    }
    receiver.wait_for(2, PATIENCE).await.unwrap();
    let uuids: Vec<String> = receiver
        .received()
        .iter()
        .map(|request| {
            let text = std::str::from_utf8(&request.body).unwrap();
            assert!(text.contains(extra), "{text}");
            let body = orw_model::json::parse(text).unwrap();
            body["data"]["object"]["uuid"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(uuids, ["first", "last"]);
    assert_eq!(sidecar.metric("orw_quarantined_total").await, 1.0);
    let report = Cli::new(&db.url(NEXTCLOUD)).run(&["doctor"]).await;
    assert!(
        report.out.contains("1 changes could not be processed"),
        "{report:?}"
    );
    assert!(report.out.contains("retry_quarantined"), "{report:?}");
    sidecar.terminate().await;
}

fn digest(n: u64) -> [u8; 16] {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        (n, salt).hash(&mut hasher);
        hasher.finish().to_le_bytes()
    };
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&half(1));
    bytes[8..].copy_from_slice(&half(2));
    bytes
}
