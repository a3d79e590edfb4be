//! How long an event takes from the write to the receiver: the built program, an HTTPS receiver, PostgreSQL, all on this machine.

use std::time::Duration;

use chrono::{DateTime, Utc};
use orw_testkit::receiver::{self, Received, Receiver};
use tokio_postgres::Client;

use crate::Scope;
use crate::report::{Figure, Report, Table};
use crate::rounds;
use crate::server::{Database, Server};
use crate::sidecar::Environment;
use crate::writers::{self, ROWS, UPDATE};

/// Changes a second.
const RATES: [u32; 3] = [10, 100, 500];
/// A webhook without limits of its own.
const UNLIMITED: [&str; 4] = ["--rate", "10000", "--burst", "100000"];

/// The audit row of one request, and when it was written.
const AUDIT: &str = "\
    INSERT INTO oc_openregister_audit_trails (uuid, schema, object, action, changed, \"user\", user_name, session, request, \
        created, register, object_uuid) \
    SELECT gen_random_uuid(), 1, _id, 'update', '[]', 'alice', 'Alice', '', gen_random_uuid()::text, date_trunc('second', now()), 1, _uuid \
      FROM oc_openregister_table_1_1 WHERE _uuid = $1 RETURNING clock_timestamp()";

/// Everything that is measured: database, program and receiver.
struct Bench {
    database: Database,
    receiver: Receiver,
    environment: Environment,
    seconds: Duration,
}

pub(super) async fn run(scope: Scope) -> Report {
    let server = Server::start().await;
    let database = server.database("latency").await;
    writers::fill(&database).await;
    database.install(false).await;
    let receiver = Receiver::start(receiver::Options::default()).await.unwrap();
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), receiver.ca_pem()).unwrap();
    let bench = Bench {
        environment: Environment::new(&database, Some(ca.path())),
        database,
        receiver,
        seconds: scope.seconds,
    };
    Report {
        tables: vec![bench.latency(scope.rounds).await, bench.users(scope.rounds).await],
        ratios: Vec::new(),
    }
}

/// Sorted times of one measurement.
struct Times(Vec<f64>);

impl Times {
    fn new(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    fn at(&self, part: usize) -> f64 {
        self.0[(self.0.len() - 1) * part / 100]
    }

    /// Median, 99th percentile and maximum: the median of the rounds.
    fn figures(rounds: &[Self]) -> Vec<Figure> {
        let median = |part| rounds::median(rounds.iter().map(|times| times.at(part)));
        [50, 99, 100].map(|part| Figure::new(median(part), 1)).into()
    }
}

impl Bench {
    /// From the trigger to the receipt, at a steady rate of writes.
    async fn latency(&self, rounds: usize) -> Table {
        let _sidecar = self.environment.run().await;
        let webhook = self.webhook("documented");
        let client = self.database.connect().await;
        let figures = rounds::in_turn(rounds, &mut { RATES }, async |rate| {
            self.receiver.forget();
            let update = client.prepare(UPDATE).await.unwrap();
            let count = usize::try_from(*rate).unwrap() * usize::try_from(self.seconds.as_secs()).unwrap();
            let mut tick = tokio::time::interval(Duration::from_secs(1) / *rate);
            for n in 0..count {
                tick.tick().await;
                write(&client, &update, n).await;
            }
            Times::new(self.received(count).await.iter().map(millis).collect())
        })
        .await;
        self.environment.remove_webhook(&webhook);
        let rows = RATES.iter().zip(&figures);
        Table {
            title: "Milliseconds from the write to the receiver".to_owned(),
            columns: ["changes a second", "median", "99 %", "max"]
                .map(str::to_owned)
                .into(),
            rows: rows
                .map(|(rate, times)| (rate.to_string(), Times::figures(times)))
                .collect(),
        }
    }

    /// The cost of knowing the user: a webhook that does not show the user, with and without the trigger on the audit table,
    /// and one that does.
    async fn users(&self, rounds: usize) -> Table {
        let client = self.database.connect().await;
        let mut variants = [
            ("needs no user, audit rows not captured", false, "documented"),
            ("needs no user, audit rows captured", true, "documented"),
            ("shows the user (from the audit row)", true, "nextcloud"),
        ];
        let figures = rounds::in_turn(rounds, &mut variants, async |(_, audited, format)| {
            let _sidecar = self.environment.run().await;
            let webhook = self.webhook(format);
            let call = if *audited {
                "attach($1, false)"
            } else {
                "detach($1)"
            };
            let audit_table: &str = "oc_openregister_audit_trails";
            let call = format!("SELECT openregister_webhooks.{call}");
            client.execute(&call, &[&audit_table]).await.unwrap();
            let times = self.requests(&client, *format == "nextcloud").await;
            self.environment.remove_webhook(&webhook);
            Times::new(times)
        })
        .await;
        let rows = variants.iter().zip(&figures);
        Table {
            title: "Milliseconds to the receiver, 50 requests a second, each a row and 5 ms later its audit row; the first two from the row, \
                    the third from the audit row"
                .to_owned(),
            columns: ["webhook", "median", "99 %", "max"].map(str::to_owned).into(),
            rows: rows.map(|((name, ..), times)| ((*name).to_owned(), Times::figures(times))).collect(),
        }
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
            let uuid = write(client, &update, n).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            let at: DateTime<Utc> = client.query_one(&audit, &[&uuid]).await.unwrap().get(0);
            audits.push((uuid, at));
        }
        let received = self.received(count).await;
        if !from_audit {
            return received.iter().map(millis).collect();
        }
        // Each object's requests are in order, at the receiver as here.
        let mut times = Vec::new();
        for request in &received {
            let body = request.json();
            assert_eq!(body["user"]["uid"], "alice", "who did it is not known");
            let uuid = body["event"]["object"]["uuid"].as_str().unwrap();
            let place = audits.iter().position(|(key, _)| key == uuid).unwrap();
            let (_, at) = audits.remove(place);
            times.push(milliseconds(at, request.at));
        }
        times
    }

    async fn received(&self, count: usize) -> Vec<Received> {
        let patience = Duration::from_secs(60);
        self.receiver.wait_for(count, patience).await.unwrap()
    }

    fn webhook(&self, format: &str) -> String {
        let options = [&UNLIMITED[..], &["--format", format]].concat();
        let uri = self.receiver.url("/");
        self.environment.add_webhook("ObjectUpdatedEvent", &uri, &options)
    }
}

/// Updates the `n`-th row; its uuid.
async fn write(client: &Client, update: &tokio_postgres::Statement, n: usize) -> String {
    let uuid = writers::uuid(n % ROWS + 1);
    let name = format!("Person {}", n % ROWS + 1);
    client
        .execute(update, &[&uuid, &writers::second(), &name, &writers::age()])
        .await
        .unwrap();
    uuid
}

fn millis(request: &Received) -> f64 {
    milliseconds(request.header("orw-event-time").parse().unwrap(), request.at)
}

fn milliseconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    let micros = (to - from).num_microseconds().unwrap();
    f64::from(i32::try_from(micros).unwrap()) / 1000.0
}
