//! What capture costs Nextcloud's writes, and how long an event takes from the write to the receiver.
//!
//! A private PostgreSQL with `fsync` on, the built program, an HTTPS receiver, all on this machine. Figures are medians
//! of rounds; `ORW_TEST_BENCH_SECONDS` says how long each takes (default 5).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use openregister_webhooks::capture::{InstallOptions, install, uninstall};
use orw_testkit::Generation;
use orw_testkit::nextcloud::{self, OWNER};
use orw_testkit::postgres::{Options, PrivatePostgres, Programs};
use orw_testkit::receiver::{self, Received, Receiver};
use tokio_postgres::{Client, NoTls};

const PROGRAM: &str = env!("CARGO_BIN_EXE_openregister-webhooks");
const DATABASE: &str = Generation::V0_2_13.database();
const CLIENTS: usize = 8;
const ROUNDS: usize = 3;
/// Rows that are written: each client has its own.
const ROWS: usize = 800;
const LOCAL: [&str; 3] = ["localhost", "127.0.0.0/8", "::1"];

/// Everything that is measured: database, program and receiver.
struct Bench {
    postgres: PrivatePostgres,
    receiver: Receiver,
    ca: tempfile::NamedTempFile,
    seconds: Duration,
}

#[tokio::main]
async fn main() {
    let seconds = std::env::var("ORW_TEST_BENCH_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok());
    let durable = Options {
        durable: true,
        ..Options::default()
    };
    let programs = Programs::find().unwrap();
    say(&format!("PostgreSQL {}", programs.version().unwrap()));
    let postgres = PrivatePostgres::start(programs, durable).unwrap();
    nextcloud::create_owner(&postgres).await.unwrap();
    nextcloud::create_database(&postgres, DATABASE, Some(Generation::V0_2_13))
        .await
        .unwrap();
    let receiver = Receiver::start(receiver::Options::default()).await.unwrap();
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), receiver.ca_pem()).unwrap();
    let bench = Bench {
        postgres,
        receiver,
        ca,
        seconds: Duration::from_secs(seconds.unwrap_or(5)),
    };
    bench.fill().await;
    bench.cost().await;
    bench.latency().await;
    bench.users().await;
}

impl Bench {
    async fn connect(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    fn url(&self) -> String {
        self.postgres.url(OWNER, DATABASE)
    }

    /// Creates rows with images of about 0.4 kB.
    async fn fill(&self) {
        let insert = format!(
            "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _name, _created, _updated, name, age, tags) \
             SELECT gen_random_uuid(), '1', '1', 'Person ' || n, now(), now(), 'Person ' || n, 0, \
                    to_jsonb(ARRAY[repeat('x', 200)]) FROM generate_series(1, {ROWS}) n"
        );
        self.connect().await.batch_execute(&insert).await.unwrap();
    }

    /// Updates a second with one row in a transaction: without us, with triggers, and with the program.
    async fn cost(&self) {
        say(&format!(
            "\nupdates a second, {CLIENTS} clients, one row a transaction"
        ));
        let mut table: Vec<(&str, Vec<f64>)> = Vec::new();
        for _ in 0..ROUNDS {
            let mut note = |name, figure| match table.iter_mut().find(|(n, _)| *n == name) {
                Some((_, figures)) => figures.push(figure),
                None => table.push((name, vec![figure])),
            };
            note("without us", self.updates().await);
            self.install(false).await;
            note("installed, nobody listens to objects", self.updates().await);
            self.install(true).await;
            note("captured, nobody reads", self.updates().await);
            let sidecar = self.sidecar().await;
            note("captured and read, no webhook", self.updates().await);
            sidecar.stop();
            uninstall(&self.connect().await, |_, _| {}).await.unwrap();
        }
        let first = median(&mut table[0].1);
        for (name, figures) in &mut table {
            let figure = median(figures);
            say(&format!("  {name:<40} {figure:>8.0} {:>6.2}", figure / first));
        }
    }

    async fn install(&self, capture_all: bool) {
        let options = InstallOptions {
            table_prefix: "oc_".to_owned(),
            runtime_role: None,
            capture_all,
        };
        install(&mut self.connect().await, &options, |_, _| {})
            .await
            .unwrap();
    }

    async fn updates(&self) -> f64 {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::new();
        for number in 0..CLIENTS {
            let client = self.connect().await;
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            tasks.push(tokio::spawn(async move {
                let update = client.prepare(UPDATE).await.unwrap();
                let mut id = number;
                while !stop.load(Ordering::Relaxed) {
                    let key = i64::try_from(id % ROWS + 1).unwrap();
                    client.execute(&update, &[&key]).await.unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                    id += CLIENTS;
                }
            }));
        }
        let began = Instant::now();
        tokio::time::sleep(self.seconds).await;
        let rate =
            f64::from(u32::try_from(done.load(Ordering::Relaxed)).unwrap()) / began.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.unwrap();
        }
        rate
    }

    /// Latency from the trigger to the receipt in ms, at a steady rate of writes.
    async fn latency(&self) {
        self.install(false).await;
        let sidecar = self.sidecar().await;
        let webhook = self.webhook("documented");
        say("\nmilliseconds from the write to the receiver");
        say(&format!(
            "  {:>10} {:>8} {:>8} {:>8} {:>8}",
            "changes/s", "events", "median", "99 %", "max"
        ));
        let client = self.connect().await;
        let update = client.prepare(UPDATE).await.unwrap();
        for rate in [10_u32, 100, 500] {
            self.receiver.forget();
            let count = usize::try_from(rate).unwrap() * usize::try_from(self.seconds.as_secs()).unwrap();
            let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
            for n in 0..count {
                tick.tick().await;
                let key = i64::try_from(n % ROWS + 1).unwrap();
                client.execute(&update, &[&key]).await.unwrap();
            }
            let received = self
                .receiver
                .wait_for(count, Duration::from_secs(60))
                .await
                .unwrap();
            let mut times: Vec<f64> = received.iter().map(millis).collect();
            times.sort_by(f64::total_cmp);
            let at = |part: usize| times[(times.len() - 1) * part / 100];
            say(&format!(
                "  {rate:>10} {:>8} {:>8.1} {:>8.1} {:>8.1}",
                times.len(),
                at(50),
                at(99),
                at(100)
            ));
        }
        self.remove(&webhook);
        sidecar.stop();
    }

    /// The cost of knowing the user: a webhook that does not show the user, with and without the trigger on the audit table,
    /// and one that does.
    async fn users(&self) {
        self.install(false).await;
        let client = self.connect().await;
        let mut table: Vec<(&str, Vec<f64>)> = Vec::new();
        for _ in 0..ROUNDS {
            for (name, audited, format) in [
                ("needs no user, audit rows not captured", false, "documented"),
                ("needs no user, audit rows captured", true, "documented"),
                ("shows the user (from the audit row)", true, "nextcloud"),
            ] {
                let sidecar = self.sidecar().await;
                let webhook = self.webhook(format);
                let call = if audited {
                    "attach($1, false)"
                } else {
                    "detach($1)"
                };
                let audit_table: &str = "oc_openregister_audit_trails";
                client
                    .execute(&format!("SELECT openregister_webhooks.{call}"), &[&audit_table])
                    .await
                    .unwrap();
                let times = self.requests(&client, format == "nextcloud").await;
                match table.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, all)) => all.extend(times),
                    None => table.push((name, times)),
                }
                self.remove(&webhook);
                sidecar.stop();
            }
        }
        say("\nmilliseconds to the receiver, 50 requests a second, each a row and 5 ms later its audit row");
        say(&format!("  {:<40} {:>8} {:>8}", "webhook", "median", "99 %"));
        for (name, times) in &mut table {
            times.sort_by(f64::total_cmp);
            let at = |part: usize| times[(times.len() - 1) * part / 100];
            say(&format!("  {name:<40} {:>8.1} {:>8.1}", at(50), at(99)));
        }
        say("  the first two from the row, the third from the audit row");
    }

    /// Rows and their audit rows; from the row, or from the audit row, to the receipt.
    async fn requests(&self, client: &Client, from_audit: bool) -> Vec<f64> {
        self.receiver.forget();
        let update = client.prepare(UPDATE).await.unwrap();
        let audit = client.prepare(AUDIT).await.unwrap();
        let count = 50 * usize::try_from(self.seconds.as_secs()).unwrap();
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let mut audits = Vec::new();
        for n in 0..count {
            tick.tick().await;
            let key = i64::try_from(n % ROWS + 1).unwrap();
            client.execute(&update, &[&key]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
            let at: DateTime<Utc> = client.query_one(&audit, &[&key]).await.unwrap().get(0);
            audits.push((key, at));
        }
        let received = self
            .receiver
            .wait_for(count, Duration::from_secs(60))
            .await
            .unwrap();
        if !from_audit {
            return received.iter().map(millis).collect();
        }
        // Each object's requests are in order, at the receiver as here.
        let mut times = Vec::new();
        for request in &received {
            let body = request.json();
            assert_eq!(body["user"]["uid"], "alice", "who did it is not known");
            let id = body["event"]["object"]["id"].as_i64().unwrap();
            let place = audits.iter().position(|(key, _)| *key == id).unwrap();
            let (_, at) = audits.remove(place);
            times.push(milliseconds(at, request.at));
        }
        times
    }

    /// Adds a webhook; its id.
    fn webhook(&self, format: &str) -> String {
        let add = Command::new(PROGRAM)
            .args([
                "webhook",
                "add",
                "--event",
                "ObjectUpdatedEvent",
                "--rate",
                "10000",
                "--burst",
                "100000",
            ])
            .args(["--uri", &self.receiver.url("/"), "--format", format, "--json"])
            .envs(environment(&self.url(), self.ca.path()))
            .output()
            .unwrap();
        assert!(add.status.success());
        let made: serde_json::Value = serde_json::from_slice(&add.stdout).unwrap();
        made["id"].to_string()
    }

    fn remove(&self, webhook: &str) {
        let done = Command::new(PROGRAM)
            .args(["webhook", "remove", webhook])
            .envs(environment(&self.url(), self.ca.path()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(done.success());
    }

    async fn sidecar(&self) -> Sidecar {
        let address = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let child = Command::new(PROGRAM)
            .arg("run")
            .envs(environment(&self.url(), self.ca.path()))
            .env("ORW_LISTEN", address.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let sidecar = Sidecar(child);
        let deadline = Instant::now() + Duration::from_secs(30);
        while tokio::net::TcpStream::connect(address).await.is_err() {
            assert!(Instant::now() < deadline, "the sidecar does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sidecar
    }
}

const UPDATE: &str =
    "UPDATE oc_openregister_table_1_1 SET age = coalesce(age, 0) + 1, _updated = now() WHERE _id = $1";

/// The audit row of one request, and when it was written.
const AUDIT: &str = "\
    INSERT INTO oc_openregister_audit_trails (uuid, schema, object, action, changed, \"user\", user_name, session, request, \
        created, register, object_uuid) \
    SELECT gen_random_uuid(), 1, _id, 'update', '[]', 'alice', 'Alice', '', gen_random_uuid()::text, now(), 1, _uuid \
      FROM oc_openregister_table_1_1 WHERE _id = $1 RETURNING clock_timestamp()";

/// A process that ends with the benchmark.
struct Sidecar(Child);

impl Sidecar {
    fn stop(self) {
        drop(self);
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn environment(url: &str, ca: &Path) -> [(&'static str, String); 5] {
    [
        ("ORW_DATABASE_URL", url.to_owned()),
        ("ORW_ADMINS", "admin:bench".to_owned()),
        (
            "ORW_MASTER_KEY",
            "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".to_owned(),
        ),
        ("ORW_TARGETS_ALLOW", LOCAL.join(",")),
        ("ORW_CA_FILE", ca.display().to_string()),
    ]
}

fn millis(request: &Received) -> f64 {
    milliseconds(request.header("orw-event-time").parse().unwrap(), request.at)
}

fn milliseconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    let micros = (to - from).num_microseconds().unwrap();
    f64::from(i32::try_from(micros).unwrap()) / 1000.0
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn say(line: &str) {
    println!("{line}");
}
