//! For how long nothing arrives when the process that reads or the one that delivers has ended.

use std::time::Duration;

use chrono::Utc;

use super::scene::Scene;

/// What the manual promises.
const PROMISED: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_takes_over() {
    run(1, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn soak_takeover_within_five_seconds() {
    run(8, Some(PROMISED)).await;
}

/// Who goes, and how.
#[derive(Debug, Clone, Copy)]
enum Gone {
    LeaderKilled,
    OwnerKilled,
    OwnerTold,
}

/// `most`: how long nothing may arrive; `None` where other tests run beside this one.
async fn run(rounds: u32, most: Option<Duration>) {
    let mut scene = Scene::new(3).await;
    scene
        .register("/", "ObjectUpdatedEvent", serde_json::json!({}))
        .await;
    scene.create(1).await;
    let mut events = 0;
    for round in 0..rounds {
        for gone in [Gone::LeaderKilled, Gone::OwnerKilled, Gone::OwnerTold] {
            // Everything works.
            events += 1;
            scene.change(1).await;
            scene.arrived(events).await;
            scene.settled().await;
            let (leader, shares) = (scene.leader().await, scene.shares().await);
            let owner = shares.iter().position(|share| share.0 == 1).unwrap();
            // Heartbeats come once a second: the moment between two of them is to differ from round to round.
            tokio::time::sleep(Duration::from_millis(u64::from(round * 370 % 1000))).await;
            let victim = match gone {
                Gone::LeaderKilled => leader,
                Gone::OwnerKilled | Gone::OwnerTold => owner,
            };
            let at = Utc::now();
            match gone {
                Gone::OwnerTold => assert_eq!(scene.sidecars[victim].terminate().await, Some(0)),
                _ => drop(scene.kill(victim).await),
            }
            events += 1;
            scene.change(1).await;
            scene.arrived(events).await;
            let took = scene.seen.borrow().arrivals.last().unwrap().at - at;
            let roles = match (victim == leader, victim == owner) {
                (true, true) => "leader and owner",
                (true, false) => "leader",
                _ => "owner",
            };
            println!(
                "{gone:?} ({roles}): the next event after {} ms",
                took.num_milliseconds()
            );
            let took = took.to_std().unwrap();
            assert!(most.is_none_or(|most| took < most), "{gone:?}: {took:?}");
            scene.sidecars[victim].start().await;
        }
    }
    for sidecar in &mut scene.sidecars {
        sidecar.terminate().await;
    }
}
