//! A delivery log that has grown large: what the page asks of it, its retention by age and by size, and live delivery
//! meanwhile. `SOAK_ARGS=soak_five_million make soak` prints the figures of 5,000,000 attempts.

use std::time::{Duration, Instant};

use openregister_webhooks::delivery::partitions::{Retention, maintain};

use super::beside::{Beside, Pair, spread};
use super::large_log::{DAYS, Scene, Size, fill};
use crate::support::wait::PATIENCE;

/// The small size: the test checks results, and only prints times.
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

const BYTES: &str = "SELECT sum(pg_total_relation_size(i.inhrelid))::bigint FROM pg_inherits i WHERE i.inhparent IN \
    ('openregister_webhooks.delivery_log'::regclass, 'openregister_webhooks.attempt'::regclass)";

const GENERATED_DAYS: &str = "SELECT count(DISTINCT day) FROM openregister_webhooks.delivery_log WHERE day < (clock_timestamp() AT TIME ZONE 'UTC')::date";

const NUMBERS: &str = "SELECT setval(pg_get_serial_sequence('openregister_webhooks.delivery', 'id'), $1)";

async fn run(size: Size) {
    let deliveries = size.deliveries();
    let mut pair = Pair::new(deliveries).await;
    // What the log will hold has older ids than what is delivered here.
    let full = &pair.full;
    full.client.execute(NUMBERS, &[&(deliveries + 1)]).await.unwrap();
    for scene in [&mut pair.empty, &mut pair.full] {
        scene.times(5).await;
    }
    let empty_views = pair.empty.views(0).await;
    let began = Instant::now();
    fill(&pair.full.client, &size, pair.full.webhook).await;
    println!(
        "{} attempts of {deliveries} deliveries in {} days made in {:.1} s",
        size.attempts,
        DAYS + 1,
        began.elapsed().as_secs_f64()
    );
    let attempts = pair
        .full
        .figure("SELECT count(*) FROM openregister_webhooks.attempt")
        .await;
    assert!(attempts >= size.attempts, "{attempts}");
    let bytes = pair.full.figure(BYTES).await;
    let began = Instant::now();
    pair.settle().await;
    println!("at rest after {:.1} s", began.elapsed().as_secs_f64());
    let full_views = pair.full.views(deliveries).await;
    println!("{:<48} {:>12} {:>12}", "median ms", "empty log", "full log");
    for ((name, empty), (_, full)) in empty_views.iter().zip(&full_views) {
        println!("{name:<48} {empty:>12.2} {full:>12.2}");
    }
    for beside in [Beside::Nothing, Beside::Lists, Beside::Live] {
        let [empty, full] = pair.latency(size.singles, beside).await;
        for (n, name) in ["median", "99 %", "max"].iter().enumerate() {
            let name = format!("latency, beside {beside:?}: {name}");
            println!("{name:<48} {:>12.2} {:>12.2}", empty[n], full[n]);
        }
        let [empty, full] = pair.rate(size.burst, beside).await;
        let name = format!("deliveries a second, beside {beside:?}");
        println!("{name:<48} {empty:>12.0} {full:>12.0}");
    }
    let Pair { mut empty, full, .. } = pair;
    empty.sidecar.terminate().await;
    shorten(full, &size, bytes).await;
}

/// What retention does to a large log, and live delivery meanwhile. The log has so many bytes.
async fn shorten(mut scene: Scene, size: &Size, bytes: i64) {
    // By age: the oldest day goes, while deliveries go on.
    let dropping = drop_while_delivering(
        &mut scene,
        size,
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
        size,
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

    // Today's partition stays, whatever its size is.
    let client = &mut scene.client;
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
    let mut client = scene.db.client().await;
    let dropping = tokio::spawn(async move {
        let began = Instant::now();
        maintain(&mut client, retention).await.unwrap();
        began.elapsed().as_secs_f64() * 1000.0
    });
    let latency = spread(scene.times((size.singles / 5).max(5)).await);
    (dropping.await.unwrap(), latency)
}

/// Events that a pending delivery needs outlive their size; others of their day do, too.
#[tokio::test]
async fn events_that_wait_to_be_delivered_are_not_dropped_for_their_size() {
    let mut scene = Scene::new().await;
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
    maintain(&mut scene.client, small).await.unwrap();
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
