//! The memory of the program does not depend on how many deliveries wait for a receiver that is down.
//!
//! `SOAK_ARGS=soak_memory_of_a_backlog make soak` prints the figures.

use std::time::Duration;

use serde_json::json;

use crate::support::postgres::Db;
use crate::support::scene::Scene;
use crate::support::sidecar::Sidecar;
use crate::support::wait::{PATIENCE, until};

/// What a backlog may add, in MiB.
const MOST: f64 = 32.0;

#[derive(Debug, Clone, Copy)]
struct Plan {
    pending: &'static [i64],
    /// How long it is looked at while the receiver is down.
    down: Duration,
    /// So many are delivered when the receiver is back.
    delivered: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_takes_no_memory() {
    run(Plan {
        pending: &[0, 20_000],
        down: Duration::ZERO,
        delivered: 500,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and 2 GB of disk: make soak"]
async fn soak_memory_of_a_backlog() {
    run(Plan {
        pending: &[0, 10_000, 1_000_000],
        down: Duration::from_secs(30),
        delivered: 10_000,
    })
    .await;
}

/// Resident sizes in MiB.
#[derive(Debug)]
struct Sizes {
    down: f64,
    peak: f64,
    /// The most until so many were delivered.
    delivering: Option<f64>,
}

async fn run(plan: Plan) {
    let mut all = Vec::new();
    for pending in plan.pending {
        let sizes = measure(*pending, plan).await;
        println!(
            "{pending} pending, resident MiB: while the receiver is down {:.1} (at most {:.1}), at most when it is back {:.1?}",
            sizes.down, sizes.peak, sizes.delivering
        );
        all.push(sizes);
    }
    for sizes in &all {
        let most = all[0].peak + MOST;
        assert!(
            sizes.peak < most && sizes.delivering.unwrap_or_default() < most,
            "{sizes:?}, without {:?}",
            all[0]
        );
    }
}

async fn measure(pending: i64, plan: Plan) -> Sizes {
    let db = Db::openregister_0_2_13().await;
    let client = db.client().await;
    let mut scene = Scene::on(db).running().await;
    let webhook = json!({
        "uri": scene.receiver.url("/"),
        "event": "OCA\\OpenRegister\\Event\\ObjectCreatedEvent",
        "rateLimit": {"perSecond": 10_000, "burst": 100_000},
    });
    let webhook = scene.sidecar.register(webhook).await;
    // One event that was really captured; the others are its copies, each of an object of its own.
    let object = "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _created, _updated, name, age) \
                  VALUES ('00000000-0000-4000-8000-000000000001', '1', '1', now(), now(), repeat('n', 500), 0)";
    client.batch_execute(object).await.unwrap();
    scene.receiver.wait_for(1, PATIENCE).await.unwrap();
    scene.receiver.forget();
    scene.receiver.pause().await;
    assert_eq!(scene.sidecar.terminate().await, Some(0));
    let copies = "WITH copy AS (INSERT INTO openregister_webhooks.event (day, id, class, lane, at, pid, new, old, actor, awaiting) \
             SELECT e.day, 'evt_' || n, e.class, 'object:' || n, e.at, e.pid, e.new, e.old, e.actor, false \
             FROM (SELECT * FROM openregister_webhooks.event ORDER BY seq LIMIT 1) e, generate_series(1, $2::bigint) n \
             RETURNING day, seq, lane) \
         INSERT INTO openregister_webhooks.delivery (webhook, event_day, event_seq, lane, head, state, due_at, reason, deadline_at) \
         SELECT $1, day, seq, lane, true, 'pending', now(), 'live', now() + interval '3 days' FROM copy";
    client.execute(copies, &[&webhook, &pending]).await.unwrap();

    scene.sidecar.start().await;
    if pending > 0 {
        let tried = "orw_delivery_attempts_total{result=\"connect\"}";
        until("deliveries are tried", async || {
            scene.sidecar.metric(tried).await >= 5.0
        })
        .await;
    }
    // Not a condition: the memory is to be seen after so long a time.
    tokio::time::sleep(plan.down).await;
    let (down, peak) = (
        mebibytes(&scene.sidecar, "VmRSS"),
        mebibytes(&scene.sidecar, "VmHWM"),
    );
    let mut delivering = None;
    if pending > 0 {
        scene.receiver.resume().await.unwrap();
        let enough = plan.delivered.min(usize::try_from(pending).unwrap());
        scene.receiver.wait_for(enough, PATIENCE).await.unwrap();
        delivering = Some(mebibytes(&scene.sidecar, "VmHWM"));
    }
    assert_eq!(scene.sidecar.terminate().await, Some(0));
    Sizes {
        down,
        peak,
        delivering,
    }
}

fn mebibytes(sidecar: &Sidecar, line: &str) -> f64 {
    f64::from(sidecar.kibibytes(line)) / 1024.0
}
