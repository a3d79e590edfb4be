//! A part of the program that panics, or that ends without having been asked to: it is seen at once and started again, and
//! no delivery is lost, invented or out of order for it; one that keeps failing ends the process.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use orw_testkit::receiver::Receiver;
use tokio_postgres::Client;

use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::receiver::https;
use crate::support::sidecar::{Sidecar, get};
use crate::support::wait::until_number;

/// So long that only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(120);
const OBJECTS: usize = 5;

struct Scene {
    _db: Db,
    client: Client,
    receiver: Receiver,
    sidecar: Sidecar,
    folder: tempfile::TempDir,
    /// Changes of each object that were committed.
    changes: i64,
}

impl Scene {
    async fn new() -> Self {
        let db = Db::openregister_0_2_13().await;
        let receiver = https().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("faults")).unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, receiver.ca_pem()).unwrap();
        let mut sidecar = Sidecar::new(&db.url(NEXTCLOUD), &ca)
            .with(
                "ORW_TEST_FAILPOINTS",
                folder.path().join("faults").to_str().unwrap(),
            )
            .logging_to(&folder.path().join("log"));
        let (code, _, errors) = sidecar.cli(&["install"]).await;
        assert_eq!(code, 0, "{errors}");
        sidecar.start().await;
        let event = "OCA\\OpenRegister\\Event\\ObjectUpdatedEvent";
        let fields = serde_json::json!({"uri": receiver.url("/"), "event": event});
        sidecar.register(fields).await;
        let client = db.client().await;
        let sql = "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _created, _updated, name, age) \
                   SELECT format('00000000-0000-4000-8000-%s', lpad(g::text, 12, '0')), '1', '1', now(), now(), 'n', 0 \
                   FROM generate_series(1, $1::bigint) g";
        client.execute(sql, &[&(OBJECTS as i64)]).await.unwrap();
        Self {
            _db: db,
            client,
            receiver,
            sidecar,
            folder,
            changes: 0,
        }
    }

    fn fault(&self, part: &str) -> PathBuf {
        self.folder.path().join("faults").join(part)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// One change of every object, committed.
    async fn change(&mut self) {
        let sql = "UPDATE oc_openregister_table_1_1 SET age = age + 1, _updated = clock_timestamp()";
        self.client.execute(sql, &[]).await.unwrap();
        self.changes += 1;
    }

    /// Waits until everything has arrived; each object's changes came in order, and a repeat has the id of what it repeats.
    async fn arrived(&self) {
        let began = Instant::now();
        loop {
            let missing = self.missing();
            if missing == 0 {
                return;
            }
            let log = || self.log();
            assert!(began.elapsed() < PATIENCE, "{missing} missing; {}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn missing(&self) -> i64 {
        let mut newest: HashMap<String, i64> = HashMap::new();
        let mut ids: HashMap<(String, i64), String> = HashMap::new();
        for request in self.receiver.received() {
            let body = request.json();
            let object = &body["data"]["newObject"];
            let uuid = object["uuid"].as_str().unwrap().to_owned();
            let age = object["data"]["age"].as_i64().unwrap();
            let id = request.header("webhook-id").to_owned();
            let newest = newest.entry(uuid.clone()).or_default();
            match ids.get(&(uuid.clone(), age)) {
                Some(first) => {
                    assert_eq!(*first, id, "{uuid} at {age}: a repeat with another id");
                    assert_eq!(*newest, age, "{uuid}: {age} was repeated after later ones");
                }
                None => {
                    assert_eq!(age, *newest + 1, "{uuid}: out of order, or a gap");
                    *newest = age;
                    ids.insert((uuid, age), id);
                }
            }
        }
        OBJECTS as i64 * self.changes - newest.values().sum::<i64>()
    }

    /// Waits until `/readyz` says what `wanted` looks for.
    async fn until_readyz(&self, what: &str, wanted: impl Fn(u16, &str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let reply = get(self.sidecar.metrics, "/readyz").await;
            if let Ok(reply) = &reply
                && wanted(reply.status, &reply.body)
            {
                return reply.body.clone();
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {reply:?}; {}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn failures(&self, part: &str) -> f64 {
        self.sidecar
            .metric(&format!("orw_part_failures_total{{part=\"{part}\"}}"))
            .await
    }

    /// Makes a part fail, checks that the failure is reported, and lets the part work again.
    async fn fail(&mut self, part: &str, how: &str, said: &str) {
        let before = self.failures(part).await;
        self.change().await;
        self.arrived().await;
        std::fs::write(self.fault(part), how).unwrap();
        self.change().await;
        if part == "metrics" {
            // Nobody answers while it is down.
            let began = Instant::now();
            while !self.log().contains(&format!("metrics {said}")) {
                assert!(began.elapsed() < PATIENCE, "{}", self.log());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } else {
            let down = |status, body: &str| status == 503 && body.contains(&format!("{part} {said}"));
            self.until_readyz(&format!("{part} is down"), down).await;
            if part == "capture" {
                assert!(!self.sidecar.leads().await, "nobody reads the outbox");
            }
        }
        std::fs::remove_file(self.fault(part)).unwrap();
        self.until_readyz(&format!("{part} is up"), |status, _| status == 200)
            .await;
        let after = self.failures(part).await;
        assert!(after > before, "{part}: {before} and then {after} failures");
        let line = |line: &str| line.contains("ERROR") && line.contains(&format!("{part} {said}"));
        assert!(self.log().lines().any(line), "{part}: {}", self.log());
        self.change().await;
        self.arrived().await;
    }
}

/// Every part that runs in this scene; the one of the certificate is there with TLS only.
const PARTS: [&str; 10] = [
    "capture",
    "registry",
    "measuring",
    "partitions",
    "retention",
    "jobs",
    "handshakes",
    "actors",
    "api",
    "metrics",
];
/// Delivery and its tasks, in groups of so few that the restarts of the whole do not end the process.
const DELIVERY: [&[&str]; 2] = [
    &["delivery", "lease", "settler"],
    &["scheduler", "events", "health"],
];

async fn all_fail(parts: &[&str], how: &str, said: &str) {
    let mut scene = Scene::new().await;
    for part in parts {
        scene.fail(part, how, said).await;
    }
    assert_eq!(scene.sidecar.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_panics_is_seen_and_started_again() {
    all_fail(&PARTS, "panic", "panicked").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_ends_unasked_is_seen_and_started_again() {
    all_fail(&PARTS, "return", "ended").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_of_delivery_that_panics_is_seen_and_delivery_started_again() {
    for tasks in DELIVERY {
        all_fail(tasks, "panic", "panicked").await;
    }
    all_fail(&["claim", "reconcile"], "panic", "panicked").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_of_delivery_that_ends_unasked_is_seen_and_delivery_started_again() {
    for tasks in DELIVERY {
        all_fail(tasks, "return", "ended").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_keeps_failing_ends_the_process_with_a_code_of_its_own() {
    let mut scene = Scene::new().await;
    std::fs::write(scene.fault("settler"), "panic").unwrap();
    assert_eq!(scene.sidecar.ended().await, Some(3), "{}", scene.log());
    let line = |line: &str| line.contains("settler panicked") && line.contains("the process ends");
    assert!(scene.log().lines().any(line), "{}", scene.log());
    std::fs::remove_file(scene.fault("settler")).unwrap();
    scene.sidecar.start().await;
    scene.change().await;
    scene.arrived().await;
    assert_eq!(scene.sidecar.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_panics_says_so_and_leaves_the_rest_alone() {
    let mut scene = Scene::new().await;
    scene.change().await;
    scene.arrived().await;
    let webhook: i64 = scene
        .client
        .query_one("SELECT id FROM openregister_webhooks.webhook", &[])
        .await
        .unwrap()
        .get(0);
    std::fs::write(scene.fault("step"), "panic").unwrap();
    scene.sidecar.replay(webhook).await;
    let said = "SELECT count(*) FROM openregister_webhooks.job WHERE waiting LIKE '%panicked: %'";
    until_number(&scene.client, said, 1, PATIENCE).await;
    assert_eq!(scene.failures("jobs").await, 0.0);
    std::fs::remove_file(scene.fault("step")).unwrap();
    let done = "SELECT count(*) FROM openregister_webhooks.job WHERE state = 'done'";
    until_number(&scene.client, done, 1, PATIENCE).await;
    assert_eq!(scene.sidecar.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_for_a_new_certificate_that_fails_is_seen_and_started_again() {
    let db = Db::openregister_0_2_13().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(path("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let mut sidecar = Sidecar::new(&db.url(NEXTCLOUD), &folder.path().join("cert.pem"))
        .with("ORW_TLS_CERT_FILE", &path("cert.pem"))
        .with("ORW_TLS_KEY_FILE", &path("key.pem"))
        .with("ORW_TEST_FAILPOINTS", folder.path().to_str().unwrap());
    let (code, _, errors) = sidecar.cli(&["install"]).await;
    assert_eq!(code, 0, "{errors}");
    sidecar.start().await;
    std::fs::write(path("certificate"), "panic").unwrap();
    let began = Instant::now();
    loop {
        let reply = get(sidecar.metrics, "/readyz").await.unwrap();
        if reply.status == 503 && reply.body.contains("certificate panicked") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{reply:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::fs::remove_file(path("certificate")).unwrap();
    sidecar.wait_ready().await;
    assert_eq!(sidecar.terminate().await, Some(0));
}
