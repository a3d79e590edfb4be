//! As fast as it can: changes in transactions of twenty, and a backlog.

use std::time::Instant;

use futures::future::join_all;
use tokio_postgres::Client;

use super::scene::{OBJECTS, Scene, mebibytes};
use crate::Scope;
use crate::report::{Figure, Table};
use crate::rounds::{in_turn, median};
use crate::sidecar::Sidecar;
use crate::writers::{age, second};

/// Changes in a transaction.
const TOGETHER: i64 = 20;
const WRITERS: usize = 4;

const UPDATE: &str = "UPDATE oc_openregister_table_1_1 SET age = $2, _updated = $3::text::timestamp \
    WHERE _id BETWEEN (SELECT min(_id) FROM oc_openregister_table_1_1) + $1 AND (SELECT min(_id) FROM oc_openregister_table_1_1) + $1 + 19";

/// Copies of the newest event, each of an object of its own, for each webhook.
const WAITING: &str = "
    WITH copy AS (
        INSERT INTO openregister_webhooks.event (day, id, class, lane, at, pid, new, old, actor, awaiting)
        SELECT e.day, 'evt_' || n, e.class, 'object:' || n, e.at, e.pid, e.new, e.old, e.actor, false
        FROM (SELECT * FROM openregister_webhooks.event ORDER BY day DESC, seq DESC LIMIT 1) e, generate_series(1, $2::bigint) n
        RETURNING day, seq, lane
    )
    INSERT INTO openregister_webhooks.delivery (webhook, event_day, event_seq, lane, head, state, due_at, reason, deadline_at)
    SELECT w, day, seq, lane, true, 'pending', now(), 'live', now() + interval '3 days' FROM copy, unnest($1::bigint[]) w";

#[derive(Debug, Clone, Copy)]
enum Load {
    /// So many changes for each of so many webhooks.
    Written(usize, u32),
    /// So many deliveries wait, for so many webhooks.
    Waiting(usize, u32),
}

struct Measured {
    rate: f64,
    spent: [f64; 5],
    connections: f64,
    mebibytes: f64,
}

pub(super) async fn measure(scene: &Scene, scope: Scope) -> Table {
    // The default is three seconds; the figures of the documentation are measured with more.
    let seconds = u32::try_from(scope.seconds.as_secs()).unwrap();
    let loads = [
        ("written, one webhook", Load::Written(1, 10_000 * seconds)),
        ("written, ten webhooks", Load::Written(10, 2_000 * seconds)),
        ("waiting, one webhook", Load::Waiting(1, 20_000 * seconds)),
        ("waiting, ten webhooks", Load::Waiting(10, 20_000 * seconds)),
        // One webhook may be allowed 10,000 requests a second at most.
        ("500,000 waiting, two webhooks", Load::Waiting(2, 500_000)),
    ];
    let figures = in_turn(scope.rounds, &mut { loads }, async |(_, load)| match *load {
        Load::Written(webhooks, changes) => written(scene, webhooks, changes).await,
        Load::Waiting(webhooks, count) => waiting(scene, webhooks, count).await,
    })
    .await;
    let columns = [
        "load",
        "deliveries a second",
        "CPU s for 1,000 deliveries: all",
        "program",
        "its sessions",
        "writers",
        "receiver",
        "connections",
        "MiB at most",
    ];
    let rows = loads.iter().zip(&figures);
    Table {
        title: "As fast as it can".to_owned(),
        columns: columns.map(str::to_owned).into(),
        rows: rows
            .map(|((name, _), rounds)| ((*name).to_owned(), row(rounds)))
            .collect(),
    }
}

fn row(rounds: &[Measured]) -> Vec<Figure> {
    let of = |figure: &dyn Fn(&Measured) -> f64| median(rounds.iter().map(figure));
    let mut row = vec![Figure::new(of(&|one| one.rate), 0)];
    row.extend((0..5).map(|at| Figure::new(of(&|one| one.spent[at]), 3)));
    row.push(Figure::new(of(&|one| one.connections), 0));
    row.push(Figure::new(of(&|one| one.mebibytes), 1));
    row
}

/// From the first write to the last receipt.
async fn written(scene: &Scene, webhooks: usize, changes: u32) -> Measured {
    let webhooks = scene.webhooks(webhooks);
    let sidecar = scene.environment.run().await;
    let writers = scene.writers(WRITERS).await;
    scene.receiver.reset();
    let deliveries = u64::from(changes) * u64::try_from(webhooks.len()).unwrap();
    write(&writers, 200).await;
    scene
        .receiver
        .until(200 * u64::try_from(webhooks.len()).unwrap())
        .await;
    scene.receiver.reset();
    let measured = throughout(scene, &sidecar, deliveries, write(&writers, changes.into())).await;
    drop(sidecar);
    scene.remove(&webhooks);
    measured
}

async fn write(writers: &[Client], changes: i64) {
    let step = TOGETHER * i64::try_from(writers.len()).unwrap();
    let sessions = writers.iter().zip(0..).map(|(client, session)| async move {
        let update = client.prepare(UPDATE).await.unwrap();
        let mut n = session * TOGETHER;
        while n < changes {
            let row = n % OBJECTS;
            client.execute(&update, &[&row, &age(), &second()]).await.unwrap();
            n += step;
        }
    });
    join_all(sessions).await;
}

/// From the start of the program to the last receipt.
async fn waiting(scene: &Scene, webhooks: usize, count: u32) -> Measured {
    let webhooks = scene.webhooks(webhooks);
    let deliveries = wait(scene, &webhooks, count).await;
    scene.receiver.reset();
    let sidecar = scene.environment.run().await;
    let measured = throughout(scene, &sidecar, deliveries, async {}).await;
    drop(sidecar);
    scene.remove(&webhooks);
    measured
}

/// Makes so many deliveries wait, as many for each webhook, while the program does not run; how many these are.
pub(super) async fn wait(scene: &Scene, webhooks: &[String], count: u32) -> u64 {
    let sidecar = scene.environment.run().await;
    let each = u64::try_from(webhooks.len()).unwrap();
    scene.receiver.reset();
    write(&scene.writers(1).await, TOGETHER).await;
    scene
        .receiver
        .until(each * u64::try_from(TOGETHER).unwrap())
        .await;
    drop(sidecar);
    let ids: Vec<i64> = webhooks
        .iter()
        .map(|id| id.trim_matches('"').parse().unwrap())
        .collect();
    let events = i64::from(count) / i64::try_from(webhooks.len()).unwrap();
    let client = scene.database.connect().await;
    client.execute(WAITING, &[&ids, &events]).await.unwrap();
    scene.server.dba.batch_execute("CHECKPOINT").await.unwrap();
    u64::try_from(events).unwrap() * each
}

/// Empties the queue, while the program does not run.
pub(super) async fn forget(scene: &Scene) {
    let client = scene.database.connect().await;
    let empty = "TRUNCATE openregister_webhooks.delivery, openregister_webhooks.event";
    client.batch_execute(empty).await.unwrap();
}

async fn throughout(
    scene: &Scene,
    sidecar: &Sidecar,
    deliveries: u64,
    meanwhile: impl Future<Output = ()>,
) -> Measured {
    let (began, before) = (Instant::now(), scene.before(sidecar).await);
    meanwhile.await;
    scene.receiver.until(deliveries).await;
    let elapsed = began.elapsed();
    let spent = scene.since(&before, sidecar).await;
    Measured {
        rate: f64::from(u32::try_from(deliveries).unwrap()) / elapsed.as_secs_f64(),
        spent: spent.each_thousand(deliveries),
        connections: f64::from(u32::try_from(scene.receiver.arrived().connections).unwrap()),
        mebibytes: mebibytes(sidecar.pid(), "VmHWM"),
    }
}
