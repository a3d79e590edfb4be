//! One statement that writes many rows, as OpenRegister's bulk save does.

use orw_testkit::receiver::Received;
use serde_json::json;

use crate::support::postgres::Db;
use crate::support::scene::Scene;
use crate::support::wait::PATIENCE;

/// Upserts `rows` rows of about `size` bytes, half of which exist. Returns the program's resident size in MiB: before, at most,
/// and after everything is delivered.
async fn upsert(rows: usize, size: usize) -> [u32; 3] {
    let db = Db::openregister_0_2_13().await;
    let client = db.client().await;
    let statement = |first: usize, last: usize, name: &str| {
        format!(
            "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _name, _created, _updated, name, age, nickname) \
             SELECT 'row-' || lpad(n::text, 6, '0'), '1', '1', '{name} ' || n, date_trunc('second', now()), \
                    date_trunc('second', now()), '{name} ' || n, n, repeat('x', {size}) FROM generate_series({first}, {last}) n \
             ON CONFLICT (_uuid) DO UPDATE SET _name = EXCLUDED._name, name = EXCLUDED.name, age = EXCLUDED.age, _updated = NOW()"
        )
    };
    client
        .batch_execute(&statement(1, rows / 2, "Old"))
        .await
        .unwrap();
    let scene = Scene::on(db).running().await;
    let more = json!({"maxInFlight": 1, "rateLimit": {"perSecond": 10000, "burst": 100_000}});
    scene.register(r"OCA\OpenRegister\Event\Object*", more).await;
    let mebibytes = |line: &str| scene.sidecar.kibibytes(line) / 1024;
    let before = mebibytes("VmRSS");
    client.batch_execute(&statement(1, rows, "New")).await.unwrap();
    let received = scene.receiver.wait_for(rows, PATIENCE).await.unwrap();
    let (peak, after) = (mebibytes("VmHWM"), mebibytes("VmRSS"));

    // The events are in the order of the rows, which is that of the statement; so are the bodies, one at a time.
    let stored =
        "SELECT class, (new::json -> 'data' ->> 'age')::int8 FROM openregister_webhooks.event ORDER BY seq";
    let events: Vec<(String, usize)> = client
        .query(stored, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), usize::try_from(row.get::<_, i64>(1)).unwrap()))
        .collect();
    let class = |n: usize| {
        if n <= rows / 2 {
            "ObjectUpdatedEvent"
        } else {
            "ObjectCreatedEvent"
        }
    };
    let expected: Vec<(String, usize)> = (1..=rows).map(|n| (class(n).to_owned(), n)).collect();
    assert!(events == expected, "{} events", events.len());
    assert_eq!(received.len(), rows);
    let sent = |request: &Received| {
        let body = request.json();
        let name = body["event"]
            .as_str()
            .unwrap()
            .rsplit('\\')
            .next()
            .unwrap()
            .to_owned();
        let age = body["data"]["object"]["data"]["age"].as_u64().unwrap();
        (name, usize::try_from(age).unwrap())
    };
    let sent: Vec<(String, usize)> = received.iter().map(sent).collect();
    assert!(sent == expected, "the bodies are in another order");
    if rows > 1 {
        let updated = received[0].json();
        assert_eq!(updated["data"]["newObject"]["name"], "New 1");
        assert_eq!(updated["data"]["oldObject"]["name"], "Old 1");
    }
    [before, peak, after]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upsert_of_many_rows_gives_an_event_for_each_in_order() {
    upsert(300, 100).await;
}

/// The statement has 14 MB of row images, and each is in memory about ten times while its batch is worked on. A batch has 2 MiB of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upsert_of_large_rows_takes_the_memory_of_a_batch() {
    let [before, peak, after] = upsert(600, 16_000).await;
    println!("resident {before} MiB before, {peak} at most, {after} after");
    assert!(peak < before + 80, "{before} MiB before, {peak} at most");
}

/// 10,000 rows of half a kilobyte, and of eight: 80 MB in one statement. The reader takes 2 MiB of row images at a time, so
/// the peak is that of a batch: four times as many rows take no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a minute of work"]
async fn soak_ten_thousand_rows_upserted_in_one_statement_take_bounded_memory() {
    let mut peaks = Vec::new();
    for (rows, size) in [(10_000, 100), (2500, 8000), (10_000, 8000)] {
        let [before, peak, after] = upsert(rows, size).await;
        println!(
            "{rows} rows, {size} bytes each on top: resident {before} MiB before, {peak} at most, {after} after"
        );
        peaks.push(peak);
    }
    assert!(peaks[2] < peaks[1] * 3 / 2, "{peaks:?}");
}
