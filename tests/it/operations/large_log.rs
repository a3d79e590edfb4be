//! A sidecar whose delivery log holds some days of many deliveries.

use std::ops::{Deref, DerefMut};
use std::time::Instant;

use openregister_webhooks::delivery::queue::listing;
use openregister_webhooks::delivery::statistics;
use orw_testkit::Generation;
use serde_json::json;
use tokio_postgres::Client;

use crate::support::postgres::Db;
use crate::support::scene;
use crate::support::wait::PATIENCE;

pub(super) const WEBHOOKS: i64 = 20;

/// Days with a partition of their own, today not among them.
pub(super) const DAYS: i64 = 5;

pub(super) struct Size {
    pub(super) attempts: i64,
    /// Objects that are written one after another, each when the one before has arrived.
    pub(super) singles: usize,
    /// Objects that are written at once.
    pub(super) burst: usize,
}

impl Size {
    /// Every fourth delivery took two attempts.
    pub(super) const fn deliveries(&self) -> i64 {
        self.attempts / 5 * 4
    }
}

/// The scene, with one webhook for created objects; the program runs.
pub(super) struct Scene {
    scene: scene::Scene,
    /// How many objects were written.
    pub(super) written: usize,
}

impl Deref for Scene {
    type Target = scene::Scene;

    fn deref(&self) -> &scene::Scene {
        &self.scene
    }
}

impl DerefMut for Scene {
    fn deref_mut(&mut self) -> &mut scene::Scene {
        &mut self.scene
    }
}

impl Scene {
    pub(super) async fn new() -> Self {
        let scene = scene::Scene::on(Db::openregister(Generation::V0_2_13).await)
            .with("ORW_RATE_PER_SECOND", "10000")
            .with("ORW_RATE_BURST", "10000")
            .with("ORW_LOG_RETENTION_DAYS", "365")
            .running()
            .await;
        scene
            .register(r"OCA\OpenRegister\Event\ObjectCreatedEvent", json!({}))
            .await;
        Self { scene, written: 0 }
    }

    pub(super) async fn write(&mut self, count: usize) {
        let (from, to) = (self.written + 1, self.written + count);
        let number = |n: usize| i32::try_from(n).unwrap();
        self.objects(number(from), number(to)).await;
        self.written = to;
    }

    /// From the commit to the receipt, one at a time: median, 99th percentile and maximum in ms.
    pub(super) async fn latency(&mut self, singles: usize) -> [f64; 3] {
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
    pub(super) async fn rate(&mut self, burst: usize) -> f64 {
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

    pub(super) async fn figure(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// The median time of a question, of seven, in ms; and what it answered last.
    pub(super) async fn asked<T>(&self, ask: impl AsyncFn(&Client) -> T) -> (f64, T) {
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
    pub(super) async fn pages(&self, deliveries: i64) -> Vec<(&'static str, f64)> {
        let query = |fields: &[(&str, &str)], before: Option<i64>| listing::Query {
            filter: listing::DeliveryFilter::parse(fields.iter().copied()).unwrap(),
            limit: 100,
            before,
        };
        let asks = [
            ("first page", query(&[], None)),
            ("page in the middle", query(&[], Some(deliveries / 2))),
            ("last page", query(&[], Some(101))),
            ("one webhook", query(&[("webhook", "7")], None)),
            (
                "one webhook, given up",
                query(&[("webhook", "7"), ("state", "given_up")], None),
            ),
            ("given up", query(&[("state", "given_up")], None)),
            (
                "a class that is not there",
                query(&[("class", "AgentDeletedEvent")], None),
            ),
        ];
        let mut figures = Vec::new();
        for (name, query) in asks {
            let (ms, page) = self
                .asked(async |client| listing::list(client, &query).await.unwrap())
                .await;
            let fits = |entry: &listing::Entry| {
                query
                    .filter
                    .webhook()
                    .is_none_or(|webhook| entry.webhook == webhook.0)
                    && (query.filter.states().is_empty()
                        || query.filter.states().contains(&entry.state.as_str()))
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
pub(super) async fn fill(client: &Client, size: &Size) {
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
