//! Every way leads along its index, whatever the statistics say: no day of the log is read from its beginning.

use orw_testkit::Generation;
use orw_testkit::nextcloud::{self, OWNER};
use orw_testkit::postgres::{Options, PrivatePostgres, Programs};
use tokio_postgres::{Client, NoTls};

use super::*;
use crate::capture::{InstallOptions, install};

/// Three days of the log with 30,000 rows in all, and 20,000 rows in the queue.
const FILL: &str = "DO $$ DECLARE d date; BEGIN FOR ago IN REVERSE 2..0 LOOP \
        d := (clock_timestamp() AT TIME ZONE 'UTC')::date - ago; \
        IF ago > 0 THEN EXECUTE format('CREATE TABLE openregister_webhooks.delivery_log_%s PARTITION OF openregister_webhooks.delivery_log \
            FOR VALUES FROM (%L) TO (%L)', to_char(d, 'YYYYMMDD'), d, d + 1); END IF; \
        INSERT INTO openregister_webhooks.delivery_log (day, id, webhook, event_day, event_seq, event_id, class, lane, state, reason, \
                attempt, status, cause, created_at, finished_at) \
            SELECT d, n, 1 + n % 5, d, n, 'evt_' || n, CASE WHEN n % 997 = 0 THEN 'AgentDeletedEvent' ELSE 'ObjectUpdatedEvent' END, \
                'object:' || n % 1000, CASE WHEN n % 50 = 0 THEN 'given_up' ELSE 'succeeded' END, 'live', 1, \
                CASE WHEN n % 50 = 0 THEN 503 ELSE 200 END, CASE WHEN n % 50 = 0 THEN 'status' END, d + n * interval '1 s', d + n * interval '1 s' \
            FROM generate_series((2 - ago) * 10000 + 1, (3 - ago) * 10000) n; \
    END LOOP; \
    INSERT INTO openregister_webhooks.delivery (webhook, event_day, event_seq, lane, head, state, due_at, reason, deadline_at) \
        SELECT 1 + n % 5, d, n, 'object:' || n % 1000, n <= 1000, 'pending', now(), 'live', now() FROM generate_series(1, 20000) n; \
    END $$";

const FILTERS: [&[(&str, &str)]; 13] = [
    &[],
    &[("webhook", "3")],
    &[("state", "given_up")],
    &[("webhook", "3"), ("state", "given_up")],
    &[("state", "given_up,cancelled"), ("webhook", "3")],
    &[("class", "AgentDeletedEvent")],
    &[("class", "ObjectUpdatedEvent"), ("webhook", "3")],
    &[("object", "77")],
    &[("webhookId", "evt_4711")],
    &[("status", "503")],
    &[("status", "5xx"), ("cause", "status")],
    &[("cause", "timeout"), ("webhook", "3")],
    &[("since", "1d"), ("until", "1h"), ("status", "200")],
];

async fn explained(client: &Client, sql: &str, parameters: &Parameters) -> String {
    let sql = format!("EXPLAIN {sql}");
    let rows = client.query_typed(&sql, &parameters.list()).await.unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    lines.join("\n")
}

#[tokio::test]
async fn every_way_follows_its_index_before_and_after_the_tables_are_analysed() {
    let postgres = PrivatePostgres::start(Programs::find().unwrap(), Options::default()).unwrap();
    nextcloud::create_owner(&postgres).await.unwrap();
    let generation = Generation::V0_2_13;
    nextcloud::create_database(&postgres, generation.database(), Some(generation))
        .await
        .unwrap();
    let url = postgres.url(OWNER, generation.database());
    let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let options = InstallOptions {
        table_prefix: "oc_".to_owned(),
        runtime_role: None,
        capture_all: false,
    };
    install(&mut client, &options, |_, _| {}).await.unwrap();
    client.batch_execute(FILL).await.unwrap();
    let missing = "SELECT count(*) FROM pg_index WHERE indrelid = 'openregister_webhooks.delivery_log'::regclass AND NOT indisvalid";
    let missing: i64 = client.query_one(missing, &[]).await.unwrap().get(0);
    assert_eq!(missing, 0, "the days of a new installation have every index");
    // Days to come are empty.
    let days = "SELECT 'delivery_log_' || to_char(day, 'YYYYMMDD') FROM openregister_webhooks.delivery_log GROUP BY day";
    let full: Vec<String> = client
        .query(days, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(full.len(), 3);
    for analysed in [false, true] {
        if analysed {
            client.batch_execute("ANALYZE").await.unwrap();
        }
        for fields in FILTERS {
            let filter = DeliveryFilter::parse(fields.iter().copied()).unwrap();
            for table in [Table::Queue, Table::Log] {
                if !table.may_match(&filter) {
                    continue;
                }
                for way in Way::of(&filter, table) {
                    let mut search = Search::begin(&client, &filter, table, (Shape::Entries, ""), None)
                        .await
                        .unwrap();
                    search.ways = vec![(way, None)];
                    let rest: Vec<Field> = Field::ALL
                        .into_iter()
                        .filter(|field| filter.names(*field) && !way.fields().contains(field))
                        .collect();
                    let (sql, parameters) = search.sql(way, &rest, TRIED, 101);
                    let plan = explained(&client, &sql, &parameters).await;
                    for table in full
                        .iter()
                        .map(String::as_str)
                        .chain(["delivery l", "delivery d"])
                    {
                        let read = format!("Seq Scan on {table}");
                        assert!(
                            !plan.contains(&read),
                            "{fields:?} {way:?}, analysed: {analysed}\n{plan}"
                        );
                    }
                }
            }
        }
    }
}
