//! At a steady rate of changes, one in a transaction.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::Utc;
use futures::future::join_all;
use tokio_postgres::Client;

use super::receiver::{DIGITS, MARK};
use super::scene::{OBJECTS, REST, Scene, Spent, mebibytes};
use crate::Scope;
use crate::report::{Figure, Table};
use crate::rounds::{in_turn, median};
use crate::writers::{age, second};

/// Changes a second.
const RATES: [u32; 4] = [10, 100, 500, 2_000];
/// Changes before it is measured: plans are made, connections opened.
const WARM: u32 = 200;

/// `$1`: the row, `$2`: the time to the second, `$3`: the name, `$4`: the age.
const UPDATE: &str = "UPDATE oc_openregister_table_1_1 SET _name = $3::text, _updated = $2::text::timestamp, name = $3::text, age = $4 \
    WHERE _id = (SELECT min(_id) FROM oc_openregister_table_1_1) + $1";

/// One measurement.
struct Measured {
    /// Milliseconds from the commit, as the writer knew of it, to the receipt; sorted.
    times: Vec<f64>,
    spent: [f64; 5],
    connections: f64,
    mebibytes: f64,
}

pub(super) async fn measure(scene: &Scene, scope: Scope) -> Table {
    let figures = in_turn(scope.rounds, &mut { RATES }, async |rate| {
        at(scene, *rate, scope.seconds).await
    })
    .await;
    let rows = RATES.iter().zip(&figures);
    let columns = [
        "changes a second",
        "median ms from the commit to the receipt",
        "99 %",
        "CPU s for 1,000 deliveries: all",
        "program",
        "its sessions",
        "writers",
        "receiver",
        "connections",
        "MiB",
    ];
    Table {
        title: "One webhook, one change a transaction".to_owned(),
        columns: columns.map(str::to_owned).into(),
        rows: rows
            .map(|(rate, rounds)| (rate.to_string(), row(rounds)))
            .collect(),
    }
}

fn row(rounds: &[Measured]) -> Vec<Figure> {
    let of = |figure: &dyn Fn(&Measured) -> f64| median(rounds.iter().map(figure));
    let part = |part: usize| of(&|one: &Measured| one.times[(one.times.len() - 1) * part / 100]);
    let mut row = vec![Figure::new(part(50), 2), Figure::new(part(99), 1)];
    row.extend((0..5).map(|at| Figure::new(of(&|one| one.spent[at]), 2)));
    row.push(Figure::new(of(&|one| one.connections), 0));
    row.push(Figure::new(of(&|one| one.mebibytes), 1));
    row
}

async fn at(scene: &Scene, rate: u32, seconds: Duration) -> Measured {
    let webhooks = scene.webhooks(1);
    let sidecar = scene.environment.run().await;
    let writers = scene.writers(if rate > 500 { 8 } else { 2 }).await;
    scene.receiver.reset();
    write(&writers, WARM, 200, 0).await;
    scene.receiver.until(WARM.into()).await;
    tokio::time::sleep(REST).await;
    scene.receiver.reset();
    let count = rate * u32::try_from(seconds.as_secs()).unwrap();
    let before = scene.before(&sidecar).await;
    let committed = write(&writers, count, rate, WARM).await;
    scene.receiver.until(count.into()).await;
    let spent: Spent = scene.since(&before, &sidecar).await;
    let arrived = scene.receiver.arrived();
    let mut times: Vec<f64> = arrived
        .at
        .iter()
        .filter_map(|(number, at)| {
            let micros = at - committed.get(number)?;
            Some(f64::from(i32::try_from(micros).ok()?) / 1000.0)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    assert_eq!(times.len(), usize::try_from(count).unwrap());
    let measured = Measured {
        times,
        spent: spent.each_thousand(count.into()),
        connections: f64::from(u32::try_from(arrived.connections).unwrap()),
        mebibytes: mebibytes(sidecar.pid(), "VmHWM"),
    };
    drop(sidecar);
    scene.remove(&webhooks);
    measured
}

/// Writes so many changes at this rate; when each was known to be committed, in microseconds of the wall clock, by its number.
async fn write(writers: &[Client], count: u32, rate: u32, first: u32) -> BTreeMap<u32, i64> {
    let began = Instant::now();
    let step = u32::try_from(writers.len()).unwrap();
    let sessions = writers.iter().zip(0..).map(|(client, session)| async move {
        let update = client.prepare(UPDATE).await.unwrap();
        let mut committed = Vec::new();
        let mut n: u32 = session;
        while n < count {
            let due = began + Duration::from_secs_f64(f64::from(n) / f64::from(rate));
            tokio::time::sleep_until(due.into()).await;
            let number = first + n;
            let name = format!("{MARK}{number:0DIGITS$}");
            let row = i64::from(number) % OBJECTS;
            client
                .execute(&update, &[&row, &second(), &name, &age()])
                .await
                .unwrap();
            committed.push((number, Utc::now().timestamp_micros()));
            n += step;
        }
        committed
    });
    join_all(sessions).await.into_iter().flatten().collect()
}
