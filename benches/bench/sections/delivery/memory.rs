//! Memory: resident size of the program when it is idle, at its peak while large changes are delivered, and with a backlog; and how long
//! it takes to start with that backlog.
//!
//! Each line is a process of its own, so the peak is that of what the line says.

use futures::future::join_all;
use tokio_postgres::Client;

use super::scene::{REST, Scene, mebibytes};
use super::throughput;
use crate::Scope;
use crate::report::{Figure, Report, Table};
use crate::rounds::{in_turn, median};
use crate::writers::{age, second};

/// Rows of one statement.
const ROWS: i64 = 10_000;
/// Deliveries that wait.
const BACKLOG: u32 = 1_000_000;
/// So many of them are delivered before the peak is read.
const DELIVERED: u64 = 20_000;

/// `$1`: the first row, `$2`: how many, `$3`: the time to the second, `$4`: the age, `$5`: characters of the description.
const UPDATE: &str = "UPDATE oc_openregister_table_1_1 SET age = $4, _updated = $3::text::timestamp, _description = repeat('x', $5) \
    WHERE _id BETWEEN (SELECT min(_id) FROM oc_openregister_table_1_1) + $1 AND (SELECT min(_id) FROM oc_openregister_table_1_1) + $1 + $2 - 1";

#[derive(Debug, Clone, Copy)]
enum Load {
    Idle,
    /// One statement changes all rows; bytes of an image.
    Statement(i32),
    /// So many webhooks get changes of single rows at this rate, or as fast as they can be written (0); bytes of an image, how many changes.
    Written(usize, u32, i32, u32),
    /// So many deliveries wait.
    Waiting(u32),
}

const LOADS: [(&str, Load); 8] = [
    ("idle, one webhook", Load::Idle),
    ("one statement changes 10,000 rows of 1 KiB", Load::Statement(0)),
    (
        "one statement changes 10,000 rows of 8 KiB",
        Load::Statement(7 << 10),
    ),
    (
        "one statement changes 10,000 rows of 16 KiB",
        Load::Statement(15 << 10),
    ),
    (
        "500 a second, rows of 16 KiB",
        Load::Written(1, 500, 15 << 10, 2_000),
    ),
    (
        "as fast as possible, ten webhooks, rows of 1 KiB",
        Load::Written(10, 0, 0, 4_000),
    ),
    (
        "as fast as possible, ten webhooks, rows of 16 KiB",
        Load::Written(10, 0, 15 << 10, 2_000),
    ),
    ("1,000,000 wait, 20,000 of them delivered", Load::Waiting(BACKLOG)),
];

/// MiB, milliseconds, deliveries a second.
struct Measured {
    resident: f64,
    /// Of it what is not pages of files, which the system shares and can take back.
    own: f64,
    most: f64,
    ready: f64,
    rate: Option<f64>,
}

pub(crate) async fn run(scope: Scope) -> Report {
    let scene = Scene::new("memory").await;
    let figures = in_turn(scope.rounds.min(3), &mut { LOADS }, async |(_, load)| {
        measure(&scene, *load).await
    })
    .await;
    let rows = LOADS.iter().zip(&figures);
    let table = Table {
        title: format!(
            "Resident size of the program in MiB, medians of {} rounds",
            figures[0].len()
        ),
        columns: [
            "load",
            "3 s after it",
            "of it without pages of files (code)",
            "at most",
            "ms from the start of the process until it is ready",
            "deliveries a second",
        ]
        .map(str::to_owned)
        .into(),
        rows: rows
            .map(|((name, _), rounds)| ((*name).to_owned(), row(rounds)))
            .collect(),
    };
    Report {
        tables: vec![table],
        ratios: Vec::new(),
    }
}

fn row(rounds: &[Measured]) -> Vec<Figure> {
    let of = |figure: fn(&Measured) -> f64| median(rounds.iter().map(figure));
    let rate = rounds[0]
        .rate
        .map(|_| Figure::new(of(|one| one.rate.unwrap_or_default()), 0));
    vec![
        Figure::new(of(|one| one.resident), 1),
        Figure::new(of(|one| one.own), 1),
        Figure::new(of(|one| one.most), 1),
        Figure::new(of(|one| one.ready), 0),
        rate.unwrap_or(Figure::NONE),
    ]
}

async fn measure(scene: &Scene, load: Load) -> Measured {
    if let Load::Statement(bytes) | Load::Written(_, _, bytes, _) = load {
        // So that the old image is as large as the new one. Nobody is registered yet.
        update(&scene.writers(1).await[0], 0, ROWS, bytes).await;
    }
    let webhooks = scene.webhooks(match load {
        Load::Written(webhooks, ..) => webhooks,
        _ => 1,
    });
    let each = u64::try_from(webhooks.len()).unwrap();
    if let Load::Waiting(count) = load {
        throughput::wait(scene, &webhooks, count).await;
    }
    scene.server.dba.batch_execute("CHECKPOINT").await.unwrap();
    scene.receiver.reset();
    let (sidecar, ready) = scene.environment.run_until_ready().await;
    let began = std::time::Instant::now();
    let deliveries = match load {
        Load::Idle => 0,
        Load::Statement(bytes) => {
            update(&scene.writers(1).await[0], 0, ROWS, bytes).await;
            u64::try_from(ROWS).unwrap()
        }
        Load::Written(_, rate, bytes, changes) => {
            write(&scene.writers(4).await, rate, bytes, changes).await;
            each * u64::from(changes)
        }
        Load::Waiting(_) => DELIVERED,
    };
    scene.receiver.until(deliveries).await;
    let elapsed = began.elapsed();
    let most = mebibytes(sidecar.pid(), "VmHWM");
    if matches!(load, Load::Waiting(_)) {
        scene.environment.pause_webhook(&webhooks[0]);
    }
    tokio::time::sleep(REST).await;
    let measured = Measured {
        resident: mebibytes(sidecar.pid(), "VmRSS"),
        own: mebibytes(sidecar.pid(), "RssAnon"),
        most: most.max(mebibytes(sidecar.pid(), "VmHWM")),
        ready: ready.as_secs_f64() * 1000.0,
        rate: (deliveries > 0).then(|| f64::from(u32::try_from(deliveries).unwrap()) / elapsed.as_secs_f64()),
    };
    drop(sidecar);
    if matches!(load, Load::Waiting(_)) {
        throughput::forget(scene).await;
    }
    scene.remove(&webhooks);
    measured
}

async fn update(writer: &Client, first: i64, count: i64, bytes: i32) {
    let changed = writer
        .execute(UPDATE, &[&first, &count, &second(), &age(), &bytes])
        .await
        .unwrap();
    assert_eq!(i64::try_from(changed).unwrap(), count);
}

/// Single rows, at `rate` a second over all writers.
async fn write(writers: &[Client], rate: u32, bytes: i32, changes: u32) {
    let began = std::time::Instant::now();
    let step = u32::try_from(writers.len()).unwrap();
    let sessions = writers.iter().zip(0..).map(|(client, session)| async move {
        let mut n: u32 = session;
        while n < changes {
            if rate > 0 {
                let due = began + std::time::Duration::from_secs(1) / rate * n;
                tokio::time::sleep_until(due.into()).await;
            }
            update(client, i64::from(n) % ROWS, 1, bytes).await;
            n += step;
        }
    });
    join_all(sessions).await;
}
