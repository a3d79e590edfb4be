//! A delivery log that has grown large: looking at it, its retention by age and by size, and live delivery beside it.
//! What the queue and the outbox look like in the metrics.
//!
//! `SOAK_ARGS=soak_five_million make soak` prints the figures of 5,000,000 attempts.

use std::time::{Duration, Instant};

use openregister_webhooks::delivery::partitions::{Retention, maintain};
use openregister_webhooks::delivery::{log, statistics};
use orw_testkit::Generation;
use serde_json::json;
use tokio_postgres::Client;

use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::receiver::{Receiver, https};
use crate::support::sidecar::Sidecar;
use crate::support::wait::PATIENCE;

const WEBHOOKS: i64 = 20;
/// Days with a partition of their own, today not among them.
const DAYS: i64 = 5;

/// The small size; as a test it asserts what is true, and prints what it took.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_log_is_looked_at_and_shortened_by_whole_days() {
    run(Size {
        attempts: 10_000,
        singles: 10,
        burst: 20,
    })
    .await;
}

/// The full size; `make soak`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and 4 GB of disk: SOAK_ARGS=soak_five_million make soak"]
async fn soak_five_million_attempts_slow_nothing_down() {
    run(Size {
        attempts: 5_000_000,
        singles: 500,
        burst: 5_000,
    })
    .await;
}

struct Size {
    attempts: i64,
    /// Objects that are written one after another, each when the one before has arrived.
    singles: usize,
    /// Objects that are written at once.
    burst: usize,
}

impl Size {
    /// Every fourth delivery took two attempts.
    const fn deliveries(&self) -> i64 {
        self.attempts / 5 * 4
    }
}

struct Scene {
    client: Client,
    receiver: Receiver,
    sidecar: Sidecar,
    written: usize,
    _db: Db,
    _ca: tempfile::NamedTempFile,
}

impl Scene {
    async fn new() -> Self {
        let db = Db::openregister(Generation::V0_2_13).await;
        let receiver = https().await;
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), receiver.ca_pem()).unwrap();
        let mut sidecar = Sidecar::new(&db.url(NEXTCLOUD), ca.path())
            .with("ORW_RATE_PER_SECOND", "10000")
            .with("ORW_RATE_BURST", "10000")
            .with("ORW_LOG_RETENTION_DAYS", "365");
        let (code, _, errors) = sidecar.cli(&["install"]).await;
        assert_eq!(code, 0, "{errors}");
        sidecar.start().await;
        let uri = receiver.url("/hook");
        sidecar
            .register(json!({"uri": uri, "event": "OCA\\OpenRegister\\Event\\ObjectCreatedEvent"}))
            .await;
        Self {
            client: db.client().await,
            receiver,
            sidecar,
            written: 0,
            _db: db,
            _ca: ca,
        }
    }

    async fn write(&mut self, count: usize) {
        let (from, to) = (self.written + 1, self.written + count);
        let sql = format!(
            "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _created, _updated, name, age) \
             SELECT format('00000000-0000-4000-8000-%s', lpad(g::text, 12, '0')), '1', '1', now(), now(), 'n', 0 \
             FROM generate_series({from}, {to}) g"
        );
        self.client.batch_execute(&sql).await.unwrap();
        self.written = to;
    }

    /// From the commit to the receipt, one at a time: median, 99th percentile and maximum in ms.
    async fn latency(&mut self, singles: usize) -> [f64; 3] {
        let mut took = Vec::with_capacity(singles);
        for _ in 0..singles {
            self.write(1).await;
            let committed = chrono::Utc::now();
            let received = self.receiver.wait_for(self.written, PATIENCE).await.unwrap();
            // By the receiver's clock, which is ours: to hand over what it received takes longer the more that is.
            let late = received[self.written - 1].at - committed;
            took.push(late.as_seconds_f64() * 1000.0);
        }
        took.sort_by(f64::total_cmp);
        let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
        [at(50), at(99), at(100)]
    }

    /// Deliveries a second of many at once: the median of five rounds.
    async fn rate(&mut self, burst: usize) -> f64 {
        let mut rates = Vec::new();
        for _ in 0..5 {
            let began = Instant::now();
            self.write(burst).await;
            self.receiver.wait_for(self.written, PATIENCE).await.unwrap();
            #[expect(clippy::cast_precision_loss, reason = "thousands")]
            rates.push(burst as f64 / began.elapsed().as_secs_f64());
        }
        println!("deliveries a second, each round: {rates:.0?}");
        rates.sort_by(f64::total_cmp);
        rates[2]
    }

    async fn figure(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// The median time of a question, of seven, in ms; and what it answered last.
    async fn asked<T>(&self, ask: impl AsyncFn(&Client) -> T) -> (f64, T) {
        let mut took = Vec::new();
        loop {
            let began = Instant::now();
            let answer = ask(&self.client).await;
            took.push(began.elapsed().as_secs_f64() * 1000.0);
            if took.len() == 7 {
                took.sort_by(f64::total_cmp);
                return (took[3], answer);
            }
        }
    }

    /// The pages that people ask for, and the statistics: what each took.
    async fn pages(&self, deliveries: i64) -> Vec<(&'static str, f64)> {
        let query = |change: fn(&mut log::Query), before: Option<i64>| {
            let mut query = log::Query {
                limit: 100,
                before,
                ..log::Query::default()
            };
            change(&mut query);
            query
        };
        let asks = [
            ("first page", query(|_| {}, None)),
            ("page in the middle", query(|_| {}, Some(deliveries / 2))),
            ("last page", query(|_| {}, Some(101))),
            ("one webhook", query(|q| q.webhook = Some(7), None)),
            (
                "one webhook, given up",
                query(
                    |q| {
                        q.webhook = Some(7);
                        q.state = Some("given_up".to_owned());
                    },
                    None,
                ),
            ),
            ("given up", query(|q| q.state = Some("given_up".to_owned()), None)),
            (
                "a class that is not there",
                query(|q| q.class = Some("AgentDeletedEvent".to_owned()), None),
            ),
        ];
        let mut figures = Vec::new();
        for (name, query) in asks {
            let (ms, page) = self
                .asked(async |client| log::list(client, &query).await.unwrap())
                .await;
            let fits = |entry: &log::Entry| {
                query.webhook.is_none_or(|webhook| entry.webhook == webhook)
                    && query.state.as_ref().is_none_or(|state| entry.state == *state)
                    && query.before.is_none_or(|before| entry.id < before)
            };
            assert!(page.entries.iter().all(fits), "{name}");
            if deliveries > 0 && name != "a class that is not there" {
                assert!(!page.entries.is_empty(), "{name}");
            }
            figures.push((name, ms));
        }
        let webhooks: Vec<i64> = (1..=WEBHOOKS).collect();
        let (ms, all) = self
            .asked(async |client| statistics::of(client, &webhooks).await.unwrap())
            .await;
        assert_eq!(all.len(), webhooks.len());
        figures.push(("statistics of 20 webhooks", ms));
        figures
    }
}

/// A log of the last days, whole days each, and of today.
async fn fill(client: &Client, size: &Size) {
    let deliveries = size.deliveries();
    for days_ago in (0..=DAYS).rev() {
        let from = deliveries * (DAYS - days_ago) / (DAYS + 1) + 1;
        let to = deliveries * (DAYS - days_ago + 1) / (DAYS + 1);
        let sql = format!(
            "DO $$ DECLARE d date := (clock_timestamp() AT TIME ZONE 'UTC')::date - {days_ago}; p text; BEGIN \
                 FOREACH p IN ARRAY ARRAY['delivery_log', 'attempt'] LOOP \
                     IF to_regclass(format('openregister_webhooks.%s_%s', p, to_char(d, 'YYYYMMDD'))) IS NULL THEN \
                         EXECUTE format('CREATE TABLE openregister_webhooks.%s_%s PARTITION OF openregister_webhooks.%s FOR VALUES FROM (%L) TO (%L)', \
                             p, to_char(d, 'YYYYMMDD'), p, d, d + 1); \
                     END IF; \
                 END LOOP; \
                 INSERT INTO openregister_webhooks.delivery_log (day, id, webhook, event_day, event_seq, event_id, class, lane, state, reason, \
                         attempt, status, cause, created_at, finished_at) \
                     SELECT d, n, 1 + n % {WEBHOOKS}, d, n, 'evt_' || md5(n::text), 'ObjectUpdatedEvent', 'object:' || md5((n % 100000)::text), \
                            CASE WHEN n % 97 = 0 THEN 'given_up' ELSE 'succeeded' END, 'live', 1 + (n % 4 = 0)::int, 200, \
                            CASE WHEN n % 97 = 0 THEN 'status' END, d + interval '1 min', d + interval '1 min 1 s' \
                     FROM generate_series({from}::bigint, {to}) n; \
                 INSERT INTO openregister_webhooks.attempt (day, delivery, number, webhook, at, duration_ms, status, cause, response) \
                     SELECT d, n, k, 1 + n % {WEBHOOKS}, d + interval '1 min', 12, 200, NULL, '{{\"ok\":true}}' \
                     FROM generate_series({from}::bigint, {to}) n, generate_series(1, 1 + (n % 4 = 0)::int) k; \
             END $$"
        );
        client.batch_execute(&sql).await.unwrap();
    }
    client
        .batch_execute("ANALYZE openregister_webhooks.delivery_log; ANALYZE openregister_webhooks.attempt")
        .await
        .unwrap();
}

const BYTES: &str = "SELECT sum(pg_total_relation_size(i.inhrelid))::bigint FROM pg_inherits i WHERE i.inhparent IN \
    ('openregister_webhooks.delivery_log'::regclass, 'openregister_webhooks.attempt'::regclass)";
const GENERATED_DAYS: &str = "SELECT count(DISTINCT day) FROM openregister_webhooks.delivery_log WHERE day < (clock_timestamp() AT TIME ZONE 'UTC')::date";
const NUMBERS: &str = "SELECT setval(pg_get_serial_sequence('openregister_webhooks.delivery', 'id'), $1)";

async fn run(size: Size) {
    let mut scene = Scene::new().await;
    // What the log will hold has older ids than what is delivered here.
    let deliveries = size.deliveries();
    scene.client.execute(NUMBERS, &[&(deliveries + 1)]).await.unwrap();
    scene.latency(5).await;
    let empty_pages = scene.pages(0).await;
    let empty_latency = scene.latency(size.singles).await;
    let empty_rate = scene.rate(size.burst).await;
    let began = Instant::now();
    fill(&scene.client, &size).await;
    println!(
        "{} attempts of {deliveries} deliveries in {} days made in {:.1} s",
        size.attempts,
        DAYS + 1,
        began.elapsed().as_secs_f64()
    );
    let attempts = scene
        .figure("SELECT count(*) FROM openregister_webhooks.attempt")
        .await;
    assert!(attempts >= size.attempts, "{attempts}");
    let bytes = scene.figure(BYTES).await;
    let full_pages = scene.pages(deliveries).await;
    let full_latency = scene.latency(size.singles).await;
    let full_rate = scene.rate(size.burst).await;

    println!("{:<32} {:>12} {:>12}", "median ms", "empty log", "full log");
    for ((name, empty), (_, full)) in empty_pages.iter().zip(&full_pages) {
        println!("{name:<32} {empty:>12.2} {full:>12.2}");
    }
    for (n, name) in ["latency: median", "latency: p99", "latency: max"]
        .iter()
        .enumerate()
    {
        println!("{name:<32} {:>12.2} {:>12.2}", empty_latency[n], full_latency[n]);
    }
    println!(
        "{:<32} {empty_rate:>12.0} {full_rate:>12.0}",
        "deliveries a second"
    );

    // By age: the oldest day goes, while deliveries go on.
    let dropping = drop_while_delivering(
        &mut scene,
        &size,
        Retention {
            log: u32::try_from(DAYS).unwrap() - 1,
            ..Retention::default()
        },
    );
    let (took, latency) = dropping.await;
    assert_eq!(scene.figure(GENERATED_DAYS).await, DAYS - 1);
    println!(
        "retention by age, one day dropped: {took:.0} ms; latency meanwhile: max {:.1} ms",
        latency[2]
    );

    // By size: what is left is within it, and no day is cut.
    let log_bytes = u64::try_from(scene.figure(BYTES).await).unwrap() / 2;
    let dropping = drop_while_delivering(
        &mut scene,
        &size,
        Retention {
            log: 365,
            log_bytes,
            ..Retention::default()
        },
    );
    let (took, latency) = dropping.await;
    let left = u64::try_from(scene.figure(BYTES).await).unwrap();
    let days = scene.figure(GENERATED_DAYS).await;
    println!(
        "retention by size, {} days dropped: {took:.0} ms; latency meanwhile: max {:.1} ms; {bytes} bytes at first, {left} at last",
        DAYS - 1 - days,
        latency[2]
    );
    assert!(
        left <= log_bytes || days == 0,
        "{left} of {log_bytes}, {days} days"
    );
    assert!(days < DAYS - 1, "{days}");
    let newest = "SELECT count(DISTINCT day) FROM openregister_webhooks.delivery_log WHERE day < (clock_timestamp() AT TIME ZONE 'UTC')::date \
                  AND day >= (clock_timestamp() AT TIME ZONE 'UTC')::date - ";
    assert_eq!(
        scene.figure(&format!("{newest}{days}")).await,
        days,
        "the oldest days went first"
    );

    // Today's stays, whatever it takes.
    let client = &scene.client;
    let none = Retention {
        log_bytes: 1,
        event_bytes: 1,
        ..Retention::default()
    };
    maintain(client, none).await.unwrap();
    assert_eq!(scene.figure(GENERATED_DAYS).await, 0);
    let today = scene
        .figure("SELECT count(*) FROM openregister_webhooks.delivery_log")
        .await;
    assert!(today >= i64::try_from(scene.written).unwrap(), "{today}");
    let events = scene
        .figure("SELECT count(*) FROM openregister_webhooks.event")
        .await;
    assert!(events >= i64::try_from(scene.written).unwrap(), "{events}");
    scene.sidecar.terminate().await;
}

/// How long the retention took in ms, and the latency of deliveries beside it.
async fn drop_while_delivering(scene: &mut Scene, size: &Size, retention: Retention) -> (f64, [f64; 3]) {
    let client = scene._db.client().await;
    let dropping = tokio::spawn(async move {
        let began = Instant::now();
        maintain(&client, retention).await.unwrap();
        began.elapsed().as_secs_f64() * 1000.0
    });
    let latency = scene.latency((size.singles / 5).max(5)).await;
    (dropping.await.unwrap(), latency)
}

/// Events that a pending delivery needs outlive their size; others of their day do, too.
#[tokio::test]
async fn events_that_wait_to_be_delivered_are_not_dropped_for_their_size() {
    let scene = Scene::new().await;
    for days_ago in [3, 2, 1] {
        let sql = format!(
            "DO $$ DECLARE d date := (clock_timestamp() AT TIME ZONE 'UTC')::date - {days_ago}; BEGIN \
                 EXECUTE format('CREATE TABLE openregister_webhooks.event_%s PARTITION OF openregister_webhooks.event FOR VALUES FROM (%L) TO (%L)', \
                     to_char(d, 'YYYYMMDD'), d, d + 1); \
                 INSERT INTO openregister_webhooks.event (day, id, class, lane, at, pid, new, awaiting) \
                     SELECT d, 'evt_' || md5(d::text || n), 'ObjectCreatedEvent', 'object:x', d, 1, '{{}}', false FROM generate_series(1, 100) n; \
             END $$"
        );
        scene.client.batch_execute(&sql).await.unwrap();
    }
    scene
        .client
        .batch_execute(
            "INSERT INTO openregister_webhooks.webhook (id, revision, user_id, http_method, uri, event, classes, status) OVERRIDING SYSTEM VALUE \
                 VALUES (1000000077, 1, 'admin', 'POST', 'https://localhost/', 'ObjectCreatedEvent', '{ObjectCreatedEvent}', 'paused'); \
             INSERT INTO openregister_webhooks.delivery (webhook, event_day, event_seq, lane, head, state, due_at, reason, deadline_at) \
                 SELECT 1000000077, day, seq, lane, true, 'pending', now() + interval '1 day', 'live', now() + interval '2 days' \
                 FROM openregister_webhooks.event WHERE day = (clock_timestamp() AT TIME ZONE 'UTC')::date - 2 LIMIT 1",
        )
        .await
        .unwrap();
    let small = Retention {
        events: 30,
        event_bytes: 1,
        ..Retention::default()
    };
    maintain(&scene.client, small).await.unwrap();
    let days = scene
        .client
        .query(
            "SELECT DISTINCT (clock_timestamp() AT TIME ZONE 'UTC')::date - day FROM openregister_webhooks.event WHERE lane = 'object:x'",
            &[],
        )
        .await
        .unwrap();
    let days: Vec<i32> = days.iter().map(|row| row.get(0)).collect();
    assert_eq!(days, [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metrics_show_queue_and_outbox() {
    let mut scene = Scene::new().await;
    scene.sidecar.terminate().await;
    let webhook = scene
        .figure("SELECT max(id) FROM openregister_webhooks.webhook")
        .await;
    // Ten deliveries that wait since an hour, and are not due before tomorrow.
    let waiting = format!(
        "WITH e AS (INSERT INTO openregister_webhooks.event (day, id, class, lane, at, pid, new, awaiting) \
             SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date, 'evt_' || md5(n::text), 'ObjectCreatedEvent', 'object:' || n, now(), 1, '{{}}', false \
             FROM generate_series(1, 10) n RETURNING day, seq, lane) \
         INSERT INTO openregister_webhooks.delivery (webhook, event_day, event_seq, lane, head, state, due_at, reason, deadline_at, created_at) \
         SELECT {webhook}, day, seq, lane, true, 'retrying', now() + interval '1 day', 'live', now() + interval '2 days', now() - interval '1 hour' FROM e"
    );
    scene.client.batch_execute(&waiting).await.unwrap();
    scene.sidecar.start().await;
    let began = Instant::now();
    while scene
        .sidecar
        .metric("orw_queue_deliveries{state=\"retrying\"}")
        .await
        < 10.0
    {
        assert!(began.elapsed() < PATIENCE, "the queue is not in the metrics");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let metric = async |name: &str| scene.sidecar.metric(name).await;
    assert!(metric("orw_queue_oldest_seconds").await >= 3600.0);
    let of = |name: &str| format!("orw_queue_webhook_{name}{{webhook=\"{webhook}\"}}");
    assert!((metric(&of("deliveries")).await - 10.0).abs() < 0.1);
    assert!(metric(&of("oldest_seconds")).await >= 3600.0);
    assert!(metric("orw_outbox_bytes").await >= 8192.0);
    assert!((metric("orw_outbox_limit_bytes").await - 10_737_418_240.0).abs() < 0.1);
    assert!(metric("orw_outbox_stopped").await < 0.1);
    scene.sidecar.terminate().await;
}
