//! A webhook whose receiver fails does not slow down other webhooks.

use std::time::{Duration, Instant};

use openregister_webhooks::delivery::Options;
use openregister_webhooks::registry::{Limits, WebhookId};

use tokio_postgres::GenericClient;

use super::rig::{Rig, delivery, webhook};
use crate::support::receiver::{Answer, Receiver, https};
use crate::support::wait::PATIENCE;

/// Webhooks `1..=good` and two bad ones: the receiver of 1001 hangs, that of 1002 answers 500.
/// The hanging one hangs for `hang`.
async fn webhooks(rig: &Rig, receiver: &Receiver, good: i64, hang: Duration) {
    receiver.decide(|r| match r.path.as_str() {
        "/hang" => Answer::Hang,
        "/fail" => Answer::Status(500),
        _ => Answer::Status(200),
    });
    let put = |id: i64, path: &str| {
        let mut hook = webhook(id, receiver.url(path));
        hook.limits = Limits {
            per_second: 1000,
            burst: 1000,
            max_in_flight: 16,
            timeout: hang,
            per_minute: None,
        };
        rig.webhooks.put(hook);
    };
    for id in 1..=good {
        put(id, "/good");
    }
    put(1001, "/hang");
    put(1002, "/fail");
    assert!(openregister_webhooks::delivery::Webhooks::get(&*rig.webhooks, WebhookId(1002)).is_some());
}

/// Milliseconds from commit to receipt at the good webhooks, sorted, while events come every `every` for `ticks`; and how many
/// came a second.
async fn latencies(
    rig: &Rig,
    receiver: &Receiver,
    good: i64,
    bad: bool,
    every: Duration,
    ticks: usize,
) -> (Vec<f64>, f64) {
    receiver.forget();
    let options = Options {
        drain: Duration::from_millis(200),
        ..Options::default()
    };
    let running = rig.dispatcher_with(&receiver.ca_pem(), options);
    let begun = Instant::now();
    let mut committed = vec![];
    let mut tick = tokio::time::interval(every);
    let tag = if bad { "with" } else { "without" };
    for number in 0..ticks {
        tick.tick().await;
        let event = rig.event(&format!("{tag}{number}"), 0).await;
        let mut ids: Vec<i64> = (1..=good).collect();
        if bad {
            ids.extend([1001, 1002]);
        }
        let object = format!("{tag}{number}");
        let new: Vec<_> = ids.iter().map(|id| delivery(*id, &object, event)).collect();
        rig.enqueue(&new).await;
        committed.push(chrono::Utc::now());
        running.wake.wake(ids.into_iter().map(WebhookId));
    }
    let expected = good as usize * ticks;
    let left = "SELECT count(*) FROM openregister_webhooks.delivery WHERE webhook <= 1000";
    rig.until(left, 0).await;
    let rate = expected as f64 / begun.elapsed().as_secs_f64();
    let got = receiver.received();
    running.stop().await;
    let mut all: Vec<f64> = got
        .iter()
        .filter(|r| r.path == "/good")
        .map(|r| {
            let id = r.header("webhook-id");
            let number = id
                .trim_start_matches(&format!("evt_{tag}"))
                .trim_end_matches("_0");
            let number: usize = number.parse().unwrap();
            (r.at - committed[number]).num_microseconds().unwrap() as f64 / 1000.0
        })
        .collect();
    assert_eq!(all.len(), expected);
    all.sort_by(f64::total_cmp);
    (all, rate)
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * q) as usize]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_and_a_failing_receiver_and_a_backlog_slow_nobody_else() {
    // A delivery that waited for the hanging one would never arrive. Only the soak compares times; it has the machine to itself.
    side_by_side(4, 100, 1, 50_000, PATIENCE).await;
}

/// Statistics that were made while a transaction had not yet committed its rows say that the queue is empty.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_statistics_slow_nobody() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    webhooks(&rig, &receiver, 4, PATIENCE).await;
    let mut client = rig.db.client().await;
    let tx = client.transaction().await.unwrap();
    fill(&tx, &rig, 1002, 300_000).await;
    let analyze = "ANALYZE openregister_webhooks.delivery";
    rig.pool
        .get()
        .await
        .unwrap()
        .batch_execute(analyze)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let known =
        "SELECT reltuples::bigint FROM pg_class WHERE oid = 'openregister_webhooks.delivery'::regclass";
    assert_eq!(rig.count(known).await, 0);
    let pages = "SELECT sum(idx_blks_hit + idx_blks_read)::bigint FROM pg_statio_user_indexes WHERE relname = 'delivery'";
    let before = rig.count(pages).await;
    let (all, _) = latencies(&rig, &receiver, 4, true, Duration::from_millis(20), 50).await;
    let each = (rig.count(pages).await - before) as f64 / all.len() as f64;
    // Thousands, where a row is looked for in all of an index.
    println!("{each:.0} pages of indexes a delivery");
    assert!(each > 1.0 && each < 500.0, "{each} pages of indexes a delivery");
}

async fn backlog(rig: &Rig, webhook: i64, rows: i64) {
    let client = rig.pool.get().await.unwrap();
    fill(&**client, rig, webhook, rows).await;
}

/// Half of the rows behind one failing head, half in lanes of their own.
async fn fill(client: &impl GenericClient, rig: &Rig, webhook: i64, rows: i64) {
    let event = rig.event("backlog", 0).await;
    let sql = "INSERT INTO openregister_webhooks.delivery \
        (webhook, event_day, event_seq, lane, head, state, due_at, reason, deadline_at) \
        SELECT $1, $2, $3, CASE WHEN i % 2 = 0 THEN 'object:one' ELSE 'object:' || i END, i <= 2 OR i % 2 = 1, \
        'pending', clock_timestamp(), 'live', clock_timestamp() + interval '3 days' FROM generate_series(1, $4::bigint) i";
    client
        .execute(sql, &[&webhook, &event.day, &event.seq, &rows])
        .await
        .unwrap();
}

/// What the good webhooks meet with in a round.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    /// Events go to the bad ones, too.
    bad: bool,
    /// So many rows wait for the failing one.
    rows: i64,
}

/// Rounds in turn, so that what else the machine does meets all cases alike.
async fn side_by_side(
    good: i64,
    ticks: usize,
    rounds: usize,
    rows: i64,
    hang: Duration,
) -> [Vec<[f64; 2]>; 3] {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    webhooks(&rig, &receiver, good, hang).await;
    let case = |name, bad, rows| Case { name, bad, rows };
    let cases = [
        case("good ones alone", false, 0),
        case("beside one that hangs and one that answers 500", true, 0),
        case("and with a backlog of the latter", true, rows),
    ];
    let every = Duration::from_millis(10);
    let mut figures: [Vec<[f64; 2]>; 3] = Default::default();
    println!("{good} good webhooks at 100 events a second each; ms from commit to receipt");
    for round in 0..rounds {
        for (case, figures) in cases.iter().zip(&mut figures) {
            if case.rows > 0 {
                backlog(&rig, 1002, case.rows).await;
            }
            let (all, rate) = latencies(&rig, &receiver, good, case.bad, every, ticks).await;
            let of = |q| quantile(&all, q);
            println!(
                "round {round}, {}: median {:.1}, 99 % {:.1}, max {:.1}; {rate:.0} deliveries/s",
                case.name,
                of(0.5),
                of(0.99),
                of(1.0)
            );
            figures.push([of(0.5), of(0.99)]);
            // Each begins as the first did: the bad ones are not known as bad.
            let clear = "TRUNCATE openregister_webhooks.delivery, openregister_webhooks.webhook_health";
            rig.pool.get().await.unwrap().batch_execute(clear).await.unwrap();
        }
    }
    println!("{:<50} {:>10} {:>10}", "medians of the rounds", "median", "99 %");
    for (case, figures) in cases.iter().zip(&figures) {
        let of = |which| median(figures, which);
        println!("{:<50} {:>10.1} {:>10.1}", case.name, of(0), of(1));
    }
    figures
}

/// The median of the rounds.
fn median(figures: &[[f64; 2]], which: usize) -> f64 {
    let mut all: Vec<f64> = figures.iter().map(|f| f[which]).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// The full size; `make soak`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make soak"]
async fn soak_isolation_of_twenty_webhooks() {
    let figures = side_by_side(18, 1000, 3, 1_000_000, Duration::from_secs(2)).await;
    // Whoever waited for the hanging one would wait for two seconds.
    for (which, allowed) in [(0, 100.0), (1, 1000.0)] {
        let (alone, most) = (median(&figures[0], which), 2.0);
        for figures in &figures[1..] {
            let beside = median(figures, which);
            assert!(
                beside < alone * most + allowed,
                "{beside} ms, and {alone} ms alone"
            );
        }
    }
}
