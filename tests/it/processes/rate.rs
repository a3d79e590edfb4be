//! The rate limit of a webhook holds for all processes together, and it is reached.
//!
//! What must hold is what docs/delivery-states.md says: in every window the burst, what the rate gives in it, another burst for each
//! takeover, and what the rate gives in the time by which requests were on their way for longer than others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::scene::{PATIENCE, Scene};

const RATE: f64 = 50.0;
const BURST: f64 = 10.0;
/// From the permission to send until the request is made.
const MAKING: f64 = 0.1;

struct Plan {
    processes: usize,
    seconds: usize,
    /// How often the owner is killed, evenly spread over the run.
    kills: usize,
    /// Nothing else runs on this machine: what is sent is sent in time, so any window and the rate itself can be judged.
    alone: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rate_holds_over_real_processes() {
    run(Plan {
        processes: 3,
        seconds: 4,
        kills: 0,
        alone: false,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn soak_rate_limit_over_processes() {
    for (processes, kills) in [(1, 0), (3, 0), (3, 3)] {
        run(Plan {
            processes,
            seconds: 60,
            kills,
            alone: true,
        })
        .await;
    }
}

async fn run(plan: Plan) {
    let mut scene = Scene::new(plan.processes).await;
    let limits = json!({"rateLimit": {"perSecond": RATE as u64, "burst": BURST as u64}});
    let webhook = scene.register("/", "ObjectCreatedEvent", limits).await;
    let events = BURST as usize + RATE as usize * plan.seconds;
    let begun = Utc::now();
    scene.create(events).await;
    let mut takeovers = Vec::new();
    for kill in 0..plan.kills {
        scene.arrived(events * (kill + 1) / (plan.kills + 1)).await;
        let shares = scene.shares().await;
        let owner = shares.iter().position(|share| share.0 == 1).unwrap();
        let old = since(&scene, webhook).await;
        scene.kill(owner).await;
        let taken = async {
            loop {
                match since(&scene, webhook).await {
                    new if new != old => return new,
                    _ => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let taken = tokio::time::timeout(PATIENCE, taken).await;
        takeovers.push(taken.expect("nobody takes over"));
        scene.sidecars[owner].spawn();
    }
    scene.arrived(events).await;
    scene.settled().await;

    let arrivals = scene.seen.borrow().arrivals.clone();
    let at: Vec<DateTime<Utc>> = arrivals.iter().map(|arrival| arrival.at).collect();
    let sent = sent(&scene).await;
    let way: Vec<f64> = arrivals
        .iter()
        .filter_map(|a| Some((a.at - *sent.get(&a.id)?).as_seconds_f64()))
        .collect();
    let slowest = way.iter().copied().fold(0.0, f64::max);
    let excess = most_beyond(&at, &takeovers);
    let took = (at[at.len() - 1] - at[0]).as_seconds_f64();
    let reached = at.len() as f64 / (BURST + RATE * took);
    println!(
        "{} processes, {} takeovers: {} requests in {took:.2} s, {:.1} % of what the limit allows; at most {excess:.2} requests beyond it in any \
         window; at most {:.1} ms from the request to the receipt",
        plan.processes,
        takeovers.len(),
        at.len(),
        reached * 100.0,
        slowest * 1000.0,
    );
    assert!(!way.is_empty(), "no attempt was written down");
    if !plan.alone {
        // A request that a busy machine delays counts later than it was permitted, never earlier.
        for (before, at) in at.iter().enumerate() {
            let allowed = BURST + RATE * (*at - begun).as_seconds_f64() + 1.0;
            assert!(
                (before + 1) as f64 <= allowed,
                "{} requests by {at}, since {begun}",
                before + 1
            );
        }
        return end(scene).await;
    }
    assert!(
        excess <= RATE * (MAKING + slowest),
        "{excess} requests beyond the limit, and none was on its way for longer than {slowest} s"
    );
    // While nobody owns the webhook nothing is sent.
    if plan.kills == 0 {
        assert!(reached >= 0.95, "only {reached} of what is allowed");
    }
    end(scene).await;
}

async fn end(mut scene: Scene) {
    for sidecar in &mut scene.sidecars {
        sidecar.terminate().await;
    }
}

/// When the owner of the webhook became it.
async fn since(scene: &Scene, webhook: i64) -> DateTime<Utc> {
    let sql = "SELECT since FROM openregister_webhooks.webhook_owner WHERE webhook = $1";
    scene.client.query_one(sql, &[&webhook]).await.unwrap().get(0)
}

/// When the last attempt of each event was made.
async fn sent(scene: &Scene) -> HashMap<Arc<str>, DateTime<Utc>> {
    let sql = "SELECT l.event_id, max(a.at) FROM openregister_webhooks.attempt a \
               JOIN openregister_webhooks.delivery_log l ON l.id = a.delivery GROUP BY 1";
    let rows = scene.client.query(sql, &[]).await.unwrap();
    rows.iter()
        .map(|row| (row.get::<_, &str>(0).into(), row.get(1)))
        .collect()
}

/// The most requests by which any window holds more than the limit allows in it.
fn most_beyond(at: &[DateTime<Utc>], takeovers: &[DateTime<Utc>]) -> f64 {
    let mut most = f64::MIN;
    for (i, from) in at.iter().enumerate() {
        for (j, to) in at.iter().enumerate().skip(i) {
            let bursts = 1 + takeovers.iter().filter(|t| (*from..=*to).contains(*t)).count();
            let allowed = BURST * bursts as f64 + RATE * (*to - *from).as_seconds_f64();
            most = most.max((j - i + 1) as f64 - allowed);
        }
    }
    most
}
