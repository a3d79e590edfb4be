//! Figures, for people: `cargo test --test it delivery::speed -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use super::rig::{Rig, webhook};
use crate::support::receiver::https;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, not a test"]
async fn figures() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    rig.webhooks.put(webhook(1, receiver.url("/")));
    let running = rig.dispatcher(&receiver.ca_pem());
    rig.send(1, "warm", 0..1).await;
    running.wake(1);
    receiver.wait_for(1, Duration::from_secs(20)).await.unwrap();

    let mut latencies = vec![];
    for i in 0..200 {
        let before = receiver.count();
        rig.send(1, &format!("single{i}"), 0..1).await;
        let committed = chrono::Utc::now();
        running.wake(1);
        let got = receiver
            .wait_for(before + 1, Duration::from_secs(20))
            .await
            .unwrap();
        latencies.push((got[before].at - committed).num_microseconds().unwrap());
    }
    latencies.sort_unstable();
    println!(
        "commit to receipt, one at a time: p50 {} µs, p99 {} µs",
        latencies[100], latencies[197]
    );

    for (lanes, each) in [(10_000, 1), (100, 100)] {
        let before = receiver.count();
        for lane in 0..lanes {
            if lanes > 1000 {
                if lane == 0 {
                    let events = rig.events("bulk", 0..lanes).await;
                    let new: Vec<_> = events
                        .into_iter()
                        .enumerate()
                        .map(|(i, e)| super::rig::delivery(1, &format!("bulk{i}"), e))
                        .collect();
                    for part in new.chunks(1000) {
                        rig.enqueue(part).await;
                    }
                }
            } else {
                rig.send(1, &format!("lane{lane}"), 0..each).await;
            }
        }
        let begun = Instant::now();
        running.wake(1);
        receiver
            .wait_for(before + 10_000, Duration::from_secs(120))
            .await
            .unwrap();
        let rate = 10_000.0 / begun.elapsed().as_secs_f64();
        println!("10,000 waiting in {lanes} lanes of {each}: {rate:.0} deliveries/s");
    }
    running.stop().await;
}
