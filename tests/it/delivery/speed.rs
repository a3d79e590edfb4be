//! How many deliveries a second; `SOAK_ARGS=soak_deliveries make soak` prints the figures.

use std::time::Instant;

use hyper::Version;

use super::rig::{Rig, delivery, webhook};
use crate::support::receiver::{Options, Receiver};
use crate::support::wait::PATIENCE;

#[derive(Debug, Clone, Copy)]
struct Plan {
    rounds: usize,
    /// Deliveries that wait when it begins, each of an object of its own.
    waiting: usize,
    webhooks: &'static [usize],
    /// Deliveries one after another.
    singles: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn both_protocols_deliver_what_waits() {
    run(Plan {
        rounds: 1,
        waiting: 200,
        webhooks: &[1, 10],
        singles: 5,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: make soak"]
async fn soak_deliveries_a_second() {
    run(Plan {
        rounds: 3,
        waiting: 20_000,
        webhooks: &[1, 100],
        singles: 500,
    })
    .await;
}

async fn run(plan: Plan) {
    let protocols = [("http/1.1", Version::HTTP_11), ("h2", Version::HTTP_2)];
    let mut rates: Vec<(String, Vec<f64>)> = Vec::new();
    for _ in 0..plan.rounds {
        let mut row = 0;
        for (protocol, version) in protocols {
            for webhooks in plan.webhooks {
                let rate = rate(protocol, version, *webhooks, plan.waiting).await;
                if rates.len() == row {
                    rates.push((format!("{protocol}, {webhooks} webhooks"), Vec::new()));
                }
                rates[row].1.push(rate);
                row += 1;
            }
        }
    }
    println!(
        "{} waiting, deliveries a second, median of the rounds",
        plan.waiting
    );
    for (name, rates) in &mut rates {
        rates.sort_by(f64::total_cmp);
        println!("{name:<24} {:>8.0}   {rates:.0?}", rates[rates.len() / 2]);
    }
    for (protocol, _) in protocols {
        let [median, most] = single(protocol, plan.singles).await;
        println!(
            "{protocol}: one at a time, from commit to receipt: median {median:.1} ms, 99 % {most:.1} ms"
        );
    }
}

async fn receiver(protocol: &'static str) -> Receiver {
    let options = Options {
        protocols: vec![protocol],
        ..Options::default()
    };
    Receiver::start(options).await.unwrap()
}

/// From the first receipt to the last; 16 requests in flight a webhook, as is the default.
async fn rate(protocol: &'static str, version: Version, webhooks: usize, waiting: usize) -> f64 {
    let (rig, receiver) = tokio::join!(Rig::new(), receiver(protocol));
    for id in 1..=webhooks {
        let mut hook = webhook(id as i64, receiver.url("/"));
        hook.limits.max_in_flight = 16;
        rig.webhooks.put(hook);
    }
    let events = rig.events("bulk", 0..waiting).await;
    let new: Vec<_> = events
        .into_iter()
        .enumerate()
        .map(|(n, event)| delivery((n % webhooks) as i64 + 1, &format!("o{n}"), event))
        .collect();
    for part in new.chunks(1000) {
        rig.enqueue(part).await;
    }
    let running = rig.dispatcher(&receiver.ca_pem());
    let received = receiver.wait_for(waiting, PATIENCE).await.unwrap();
    running.stop().await;
    assert!(received.iter().all(|request| request.version == version));
    let succeeded = "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE state = 'succeeded'";
    assert_eq!(rig.count(succeeded).await, waiting as i64);
    let at: Vec<Instant> = received.iter().map(|request| request.instant).collect();
    (waiting - 1) as f64 / (at[waiting - 1] - at[0]).as_secs_f64()
}

/// Milliseconds: the median and the 99th percentile.
async fn single(protocol: &'static str, count: usize) -> [f64; 2] {
    let (rig, receiver) = tokio::join!(Rig::new(), receiver(protocol));
    rig.webhooks.put(webhook(1, receiver.url("/")));
    let running = rig.dispatcher(&receiver.ca_pem());
    let mut took = Vec::with_capacity(count);
    for n in 0..=count {
        rig.send(1, &format!("single{n}"), 0..1).await;
        let committed = chrono::Utc::now();
        running.wake(1);
        let received = receiver.wait_for(1, PATIENCE).await.unwrap();
        // The first one connects.
        if n > 0 {
            took.push((received[0].at - committed).as_seconds_f64() * 1000.0);
        }
        receiver.forget();
    }
    running.stop().await;
    took.sort_by(f64::total_cmp);
    [took[count / 2], took[(count * 99 / 100).min(count - 1)]]
}
