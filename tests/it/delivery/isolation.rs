//! One webhook's trouble is nobody else's.

use std::time::Duration;

use openregister_webhooks::registry::{Limits, WebhookId};

use super::rig::{Rig, delivery, webhook};
use crate::support::receiver::{Answer, Receiver, https};

/// Webhooks `1..=good` and two bad ones: 1001 hangs, 1002 answers 500.
async fn webhooks(rig: &Rig, receiver: &Receiver, good: i64) {
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
            timeout: Duration::from_secs(2),
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

/// Milliseconds from commit to receipt at the good webhooks, sorted, while events come every `every` for `ticks`.
async fn latencies(
    rig: &Rig,
    receiver: &Receiver,
    good: i64,
    bad: bool,
    every: Duration,
    ticks: usize,
) -> Vec<f64> {
    receiver.forget();
    let running = rig.dispatcher(&receiver.ca_pem());
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
    all
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * q) as usize]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_and_a_failing_receiver_slow_nobody_else() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    webhooks(&rig, &receiver, 4).await;
    let all = latencies(&rig, &receiver, 4, true, Duration::from_millis(20), 150).await;
    // The hanging one would make it two seconds.
    assert!(quantile(&all, 0.99) < 1000.0, "p99 {} ms", quantile(&all, 0.99));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_one_webhook_is_nobody_elses() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    webhooks(&rig, &receiver, 1).await;
    backlog(&rig, 1002, 50_000).await;
    let all = latencies(&rig, &receiver, 1, true, Duration::from_millis(20), 50).await;
    assert!(quantile(&all, 0.9) < 1000.0, "p90 {} ms", quantile(&all, 0.9));
}

/// Half of the rows behind one failing head, half in lanes of their own.
async fn backlog(rig: &Rig, webhook: i64, rows: i64) {
    let event = rig.event("backlog", 0).await;
    let sql = "INSERT INTO openregister_webhooks.delivery \
        (webhook, event_day, event_seq, lane, head, state, due_at, reason, deadline_at) \
        SELECT $1, $2, $3, CASE WHEN i % 2 = 0 THEN 'object:one' ELSE 'object:' || i END, i <= 2 OR i % 2 = 1, \
        'pending', clock_timestamp(), 'live', clock_timestamp() + interval '3 days' FROM generate_series(1, $4::bigint) i";
    let client = rig.pool.get().await.unwrap();
    client
        .execute(sql, &[&webhook, &event.day, &event.seq, &rows])
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, not a test"]
async fn figures() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    webhooks(&rig, &receiver, 18).await;
    let every = Duration::from_millis(10);
    for (name, bad, rows) in [
        ("18 good webhooks at 100/s each", false, 0),
        ("the same beside one that hangs and one that fails", true, 0),
        (
            "the same, with a million rows waiting for the failing one",
            true,
            1_000_000,
        ),
    ] {
        if rows > 0 {
            backlog(&rig, 1002, rows).await;
        }
        let all = latencies(&rig, &receiver, 18, bad, every, 1000).await;
        let of = |q| quantile(&all, q);
        println!(
            "{name}: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            of(0.5),
            of(0.99),
            of(1.0)
        );
        let clear = "TRUNCATE openregister_webhooks.delivery";
        rig.pool.get().await.unwrap().batch_execute(clear).await.unwrap();
    }
}
