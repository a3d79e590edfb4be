//! A sidecar whose delivery log holds some days of many deliveries.

use std::ops::{Deref, DerefMut};

use orw_testkit::Generation;
use serde_json::json;
use tokio_postgres::Client;

use crate::support::postgres::Db;
use crate::support::scene;
use crate::support::wait::PATIENCE;

pub(super) const WEBHOOKS: i64 = 20;
/// Objects that the deliveries are about.
pub(super) const OBJECTS: i64 = 100_000;

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

/// The scene, with [`WEBHOOKS`] webhooks, of which the first gets objects that are created; the program runs.
pub(super) struct Scene {
    scene: scene::Scene,
    /// The first webhook.
    pub(super) webhook: i64,
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
        let webhook = scene
            .register(r"OCA\OpenRegister\Event\ObjectCreatedEvent", json!({}))
            .await;
        for _ in 1..WEBHOOKS {
            scene
                .register(r"OCA\OpenRegister\Event\SourceDeletedEvent", json!({}))
                .await;
        }
        Self {
            scene,
            webhook,
            written: 0,
        }
    }

    pub(super) async fn write(&mut self, count: usize) {
        let (from, to) = (self.written + 1, self.written + count);
        let number = |n: usize| i32::try_from(n).unwrap();
        self.objects(number(from), number(to)).await;
        self.written = to;
    }

    /// From the commit to the receipt, one object at a time, in ms.
    pub(super) async fn times(&mut self, singles: usize) -> Vec<f64> {
        let mut took = Vec::with_capacity(singles);
        for _ in 0..singles {
            self.write(1).await;
            let committed = chrono::Utc::now();
            let received = self.receiver.wait_for(self.written, PATIENCE).await.unwrap();
            // By the receiver's clock, which is ours: to hand over what it received takes longer the more that is.
            let late = received[self.written - 1].at - committed;
            took.push(late.as_seconds_f64() * 1000.0);
        }
        took
    }

    pub(super) async fn figure(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }
}

/// A log of the last days, whole days each, and of today, for [`WEBHOOKS`] webhooks from `first` on; the events of the failures of the last days;
/// and the figures of each minute of a day.
pub(super) async fn fill(client: &Client, size: &Size, first: i64) {
    let deliveries = size.deliveries();
    for days_ago in (0..=DAYS).rev() {
        let from = deliveries * (DAYS - days_ago) / (DAYS + 1) + 1;
        let to = deliveries * (DAYS - days_ago + 1) / (DAYS + 1);
        let sql = format!(
            "DO $$ DECLARE d date := (clock_timestamp() AT TIME ZONE 'UTC')::date - {days_ago}; p text; began timestamptz := d::timestamp AT TIME ZONE 'UTC'; \
                 step interval := (least(clock_timestamp(), began + interval '1 day') - began) / {count}; BEGIN \
                 FOREACH p IN ARRAY ARRAY['delivery_log', 'attempt', 'event'] LOOP \
                     IF to_regclass(format('openregister_webhooks.%s_%s', p, to_char(d, 'YYYYMMDD'))) IS NULL THEN \
                         EXECUTE format('CREATE TABLE openregister_webhooks.%s_%s PARTITION OF openregister_webhooks.%s FOR VALUES FROM (%L) TO (%L)', \
                             p, to_char(d, 'YYYYMMDD'), p, d, d + 1); \
                     END IF; \
                 END LOOP; \
                 INSERT INTO openregister_webhooks.delivery_log (day, id, webhook, event_day, event_seq, event_id, class, lane, state, reason, \
                         attempt, status, cause, created_at, finished_at) \
                     SELECT d, n, {first} + n % {WEBHOOKS}, d, n, 'evt_' || n, \
                            CASE WHEN n % 9973 = 0 THEN 'AgentDeletedEvent' WHEN n % 3 = 0 THEN 'ObjectCreatedEvent' ELSE 'ObjectUpdatedEvent' END, \
                            'object:' || n % {OBJECTS}, CASE WHEN n % 97 = 0 THEN 'given_up' ELSE 'succeeded' END, 'live', 1 + (n % 4 = 0)::int, \
                            CASE WHEN n % 97 = 0 THEN CASE n % 5 WHEN 0 THEN NULL WHEN 1 THEN 500 WHEN 2 THEN 404 ELSE 503 END \
                                WHEN n % 2003 = 0 THEN 204 ELSE 200 END, \
                            CASE WHEN n % 97 = 0 THEN CASE n % 5 WHEN 0 THEN 'timeout' ELSE 'status' END END, \
                            began + (n - {from}) * step, began + (n - {from}) * step + interval '1 s' \
                     FROM generate_series({from}::bigint, {to}) n; \
                 INSERT INTO openregister_webhooks.attempt (day, delivery, number, webhook, at, duration_ms, status, cause, response) \
                     SELECT d, n, k, {first} + n % {WEBHOOKS}, began + (n - {from}) * step, 12, 200, NULL, '{{\"ok\":true}}' \
                     FROM generate_series({from}::bigint, {to}) n, generate_series(1, 1 + (n % 4 = 0)::int) k; \
                 IF {days_ago} < 3 THEN \
                     INSERT INTO openregister_webhooks.event (day, seq, id, class, lane, at, pid, old, new, awaiting) OVERRIDING SYSTEM VALUE \
                     SELECT d, n, 'evt_' || n, 'ObjectUpdatedEvent', 'object:' || n % {OBJECTS}, d, 1, '{{}}', '{{\"uuid\": \"o\"}}', false \
                     FROM generate_series({from}::bigint, {to}) n WHERE n % 97 = 0; \
                 END IF; \
             END $$",
            count = to - from + 1,
        );
        client.batch_execute(&sql).await.unwrap();
    }
    let minutes = format!(
        "INSERT INTO openregister_webhooks.minute_count (webhook, minute, writer, succeeded, given_up, failed, last_success, buckets, counts) \
             SELECT w, date_trunc('minute', clock_timestamp()) - m * interval '1 min', gen_random_uuid(), 10, 1, 2, clock_timestamp() - m * interval '1 min', \
                    ARRAY(SELECT generate_series(10, 80, 2)), ARRAY(SELECT generate_series(1, 36)) \
             FROM generate_series(1, 1439) m, (SELECT 0 AS w UNION ALL SELECT generate_series({first}, {first} + {WEBHOOKS} - 1)) w; \
         ANALYZE openregister_webhooks.delivery_log; ANALYZE openregister_webhooks.attempt"
    );
    client.batch_execute(&minutes).await.unwrap();
}
