//! Every table has a bound, and cleaning removes neither too little nor too much.

use std::collections::BTreeSet;

use openregister_webhooks::capture::InstallOptions;
use openregister_webhooks::retention::{Retention, clean};
use orw_testkit::Generation;
use tokio_postgres::Client;

use crate::support::capture::{install, options};
use crate::support::postgres::Db;
use crate::support::wait::number;

const PAGE: &str = include_str!("../../../docs/storage.md");
const DEFAULT: Retention = Retention {
    log_days: 30,
    audit_days: 365,
};

/// The names in the first column of the page's lists of tables.
fn documented() -> BTreeSet<String> {
    let rows = PAGE
        .lines()
        .filter(|line| line.starts_with("| `") && !line.starts_with("| `ORW_"));
    let first = rows.filter_map(|line| line.split('|').nth(1));
    first
        .flat_map(|cell| {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

#[tokio::test]
async fn every_table_has_its_bound_on_the_page() {
    let db = Db::openregister(Generation::V0_2_13).await;
    install(&db, &options()).await;
    let rows = db
        .client()
        .await
        .query(
            "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = 'openregister_webhooks' AND c.relkind IN ('r', 'p', 'm', 'f') AND NOT c.relispartition",
            &[],
        )
        .await
        .unwrap();
    let installed: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(installed.len() > 20, "{installed:?}");
    let missing: Vec<_> = installed.difference(&documented()).cloned().collect();
    assert!(
        missing.is_empty(),
        "docs/storage.md does not say what bounds {missing:?}"
    );
    let gone: Vec<_> = documented().difference(&installed).cloned().collect();
    assert!(
        gone.is_empty(),
        "docs/storage.md names what is not installed: {gone:?}"
    );
}

/// Installed with a role that runs the sidecar; connections as the owner and as that role.
async fn scene() -> (Db, Client, Client) {
    let db = Db::openregister(Generation::V0_2_13).await;
    let role = db.role("sidecar").await;
    let options = InstallOptions {
        runtime_role: Some(role.clone()),
        ..options()
    };
    install(&db, &options).await;
    let (owner, runtime) = (db.client().await, db.client_as(&role).await);
    (db, owner, runtime)
}

/// The rows that are left of a table, by what `column` says of them.
async fn left(client: &Client, table: &str, column: &str) -> Vec<String> {
    let sql = format!("SELECT {column}::text FROM openregister_webhooks.{table} ORDER BY 1");
    let rows = client.query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

const ROWS: &str = "
    INSERT INTO openregister_webhooks.audit (at, who, action, webhook_id) VALUES
        (now() - interval '400 days', 'old', 'create', 1), (now() - interval '300 days', 'kept', 'create', 1);
    INSERT INTO openregister_webhooks.job (kind, webhook, state, ask, place, who, created_at, updated_at, finished_at) VALUES
        ('replay', 1, 'done', '{}', '{}', 'old', now() - interval '40 days', now() - interval '40 days', now() - interval '40 days'),
        ('replay', 1, 'cancelled', '{}', '{}', 'kept', now() - interval '40 days', now() - interval '40 days', now() - interval '20 days'),
        ('replay', 1, 'running', '{}', '{}', 'at work', now() - interval '40 days', now() - interval '40 days', NULL);
    INSERT INTO openregister_webhooks.gap (id, tbl, reason, remedy, at, told_at) VALUES
        (1, 'old', '', '', now() - interval '40 days', now() - interval '40 days'),
        (2, 'untold', '', '', now() - interval '400 days', NULL),
        (3, 'kept', '', '', now() - interval '40 days', now() - interval '20 days');
    INSERT INTO openregister_webhooks.quarantine (lsn, xid, ordinal, tbl, op, found, new, pid, at, reason, seen_at) VALUES
        ('0/0', '0'::xid8, 0, 'old', 'I', false, '{}', 1, now(), '', now() - interval '40 days'),
        ('0/0', '0'::xid8, 0, 'kept', 'I', false, '{}', 1, now() - interval '40 days', '', now());
    INSERT INTO openregister_webhooks.webhook_count (webhook, day, outcome, count, total_ms) VALUES
        (1, current_date - 40, 'old', 1, 1), (1, current_date - 20, 'kept', 1, 1);
    INSERT INTO openregister_webhooks.webhook (revision, user_id, http_method, uri, event, classes) VALUES (1, 'a', 'POST', 'https://x', 'E', '{}');
    INSERT INTO openregister_webhooks.webhook_health (webhook, last_cause) SELECT id, 'kept' FROM openregister_webhooks.webhook
        UNION ALL VALUES (1, 'gone'), (2, 'in the queue');
    INSERT INTO openregister_webhooks.webhook_owner (webhook, worker) SELECT id, gen_random_uuid() FROM openregister_webhooks.webhook
        UNION ALL VALUES (1, gen_random_uuid()), (2, gen_random_uuid());
    INSERT INTO openregister_webhooks.delivery (webhook, event_day, event_seq, lane, head, state, due_at, reason, deadline_at)
        VALUES (2, current_date, 1, 'x', true, 'pending', now(), 'live', now());
    INSERT INTO openregister_webhooks.worker (id, name, alive_until, backend_pid, backend_start) VALUES
        (gen_random_uuid(), 'dead', now() - interval '2 days', 1, now()), (gen_random_uuid(), 'kept', now() - interval '1 hour', 1, now());
    INSERT INTO openregister_webhooks.captured_table (tbl, relid) VALUES ('oc_openregister_table_77_77', 1);
    INSERT INTO openregister_webhooks.erased (object, at) VALUES ('old', now() - interval '50 days'), ('job', now() - interval '35 days'),
        ('new', now() - interval '20 days');";

#[tokio::test]
async fn what_is_kept_no_longer_goes_and_what_is_needed_stays() {
    let (_db, owner, runtime) = scene().await;
    owner.batch_execute(ROWS).await.unwrap();
    // As the role that runs the sidecar, and twice at a time.
    let second = clean(&owner, DEFAULT);
    let (first, second) = tokio::join!(clean(&runtime, DEFAULT), second);
    assert_eq!(first.unwrap() + second.unwrap(), 10);
    assert_eq!(clean(&runtime, DEFAULT).await.unwrap(), 0);
    assert_eq!(left(&owner, "audit", "who").await, ["kept"]);
    assert_eq!(left(&owner, "job", "who").await, ["at work", "kept"]);
    assert_eq!(left(&owner, "gap", "tbl").await, ["kept", "untold"]);
    assert_eq!(left(&owner, "quarantine", "tbl").await, ["kept"]);
    assert_eq!(left(&owner, "webhook_count", "outcome").await, ["kept"]);
    assert_eq!(
        left(&owner, "webhook_health", "last_cause").await,
        ["in the queue", "kept"]
    );
    assert_eq!(
        left(&owner, "webhook_owner", "webhook").await,
        ["1000000000", "2"]
    );
    assert_eq!(left(&owner, "worker", "name").await, ["kept"]);
    let erased = left(&owner, "erased", "convert_from(object, 'UTF8')").await;
    assert_eq!(erased, ["job", "new"], "the job that is at work began before");
    let gone = "SELECT count(*) FROM openregister_webhooks.captured_table WHERE tbl LIKE '%77_77'";
    assert_eq!(number(&owner, gone).await, 0);
    let kept = "SELECT count(*) FROM openregister_webhooks.captured_table";
    assert!(number(&owner, kept).await > 10);
    // The job's data is removed with it, unless an older change is unread.
    owner
        .batch_execute(
            "DELETE FROM openregister_webhooks.job; \
             INSERT INTO openregister_webhooks.change_adopted VALUES ('0/1', '5'::xid8, 0, 'x', 'I', false, NULL, '{}', NULL, 1, now() - interval '60 days')",
        )
        .await
        .unwrap();
    assert_eq!(clean(&runtime, DEFAULT).await.unwrap(), 0);
    owner
        .batch_execute("DELETE FROM openregister_webhooks.change_adopted")
        .await
        .unwrap();
    assert_eq!(clean(&runtime, DEFAULT).await.unwrap(), 1);
    assert_eq!(
        left(&owner, "erased", "convert_from(object, 'UTF8')").await,
        ["new"]
    );
}

#[tokio::test]
async fn numbers_are_bounded_too_and_the_role_cannot_shorten_the_audit() {
    let (_db, owner, runtime) = scene().await;
    owner
        .batch_execute(
            "INSERT INTO openregister_webhooks.audit (at, who, action, webhook_id) \
                SELECT now() - CASE WHEN n <= 1000 THEN interval '31 days' ELSE interval '0' END, n, 'create', 1 FROM generate_series(1, 102500) n; \
             INSERT INTO openregister_webhooks.gap (id, tbl, reason, remedy, told_at) SELECT n, 't', '', '', now() FROM generate_series(1, 12500) n; \
             INSERT INTO openregister_webhooks.gap (id, tbl, reason, remedy) SELECT -n, 'untold', '', '' FROM generate_series(1, 10) n; \
             INSERT INTO openregister_webhooks.job (kind, webhook, state, ask, place, who, finished_at) \
                SELECT 'replay', 1, 'done', '{}', '{}', n, now() FROM generate_series(1, 12500) n;",
        )
        .await
        .unwrap();
    assert_eq!(clean(&runtime, DEFAULT).await.unwrap(), 7500);
    assert_eq!(
        number(&owner, "SELECT count(*) FROM openregister_webhooks.audit").await,
        100_000
    );
    assert_eq!(
        number(
            &owner,
            "SELECT min(who::int)::bigint FROM openregister_webhooks.audit"
        )
        .await,
        1001
    );
    // Who floods the table pushes out neither what was there before nor the newest.
    assert_eq!(
        number(
            &owner,
            "SELECT count(*) FROM openregister_webhooks.audit WHERE who::int BETWEEN 51001 AND 52500"
        )
        .await,
        0
    );
    assert_eq!(
        number(
            &owner,
            "SELECT count(*) FROM openregister_webhooks.gap WHERE told_at IS NOT NULL"
        )
        .await,
        10_000
    );
    assert_eq!(
        number(
            &owner,
            "SELECT count(*) FROM openregister_webhooks.gap WHERE told_at IS NULL"
        )
        .await,
        10
    );
    assert_eq!(
        number(&owner, "SELECT count(*) FROM openregister_webhooks.job").await,
        10_000
    );

    // Nobody can flood the table to remove a record of what they have just done.
    let before = Retention {
        log_days: 0,
        audit_days: 0,
    };
    owner
        .batch_execute("UPDATE openregister_webhooks.audit SET at = now() - interval '29 days'")
        .await
        .unwrap();
    clean(&runtime, before).await.unwrap();
    assert_eq!(
        number(&owner, "SELECT count(*) FROM openregister_webhooks.audit").await,
        100_000
    );
}

/// A superuser may lock every change table for hours, and no sidecar may run.
#[tokio::test]
async fn what_is_missed_is_noted_in_bounded_space() {
    let (db, owner, runtime) = scene().await;
    drop(runtime);
    owner
        .batch_execute(
            "INSERT INTO openregister_webhooks.missed SELECT 'oc_openregister_table_1_1', '5'::xid8, now() FROM generate_series(1, 40000) n",
        )
        .await
        .unwrap();
    let size = number(&owner, "SELECT pg_relation_size('openregister_webhooks.missed')").await;
    assert!(size > 1 << 20, "{size}");
    let other = db.client().await;
    other
        .batch_execute(
            "BEGIN; LOCK TABLE openregister_webhooks.change_0, openregister_webhooks.change_1, openregister_webhooks.change_2 IN ACCESS EXCLUSIVE MODE",
        )
        .await
        .unwrap();
    for n in 0..50 {
        owner
            .batch_execute(&format!(
                "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, name) VALUES ('m{n}', '1', '1', 'x'); \
                 UPDATE oc_openregister_registers SET title = title || 'x'"
            ))
            .await
            .unwrap();
    }
    other.batch_execute("ROLLBACK").await.unwrap();
    let objects = "SELECT count(*) FROM openregister_webhooks.missed WHERE tbl = 'oc_openregister_table_1_1'";
    assert_eq!(number(&owner, objects).await, 40_000);
    let registers =
        "SELECT count(*) FROM openregister_webhooks.missed WHERE tbl = 'oc_openregister_registers'";
    assert_eq!(number(&owner, registers).await, 1);
}

#[tokio::test]
async fn there_are_so_many_webhooks_and_no_more() {
    use crate::support::scene::Scene;
    let mut scene = Scene::new(Generation::V0_2_13).await;
    scene
        .client
        .batch_execute(
            "INSERT INTO openregister_webhooks.webhook (revision, user_id, http_method, uri, event, classes, status) \
             SELECT 1, 'a', 'POST', 'https://example.org/' || n, 'OCA\\OpenRegister\\Event\\ObjectCreatedEvent', '{ObjectCreatedEvent}', 'disabled' \
             FROM generate_series(1, 10000) n",
        )
        .await
        .unwrap();
    scene.sidecar.start().await;
    let path = "/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks?format=json";
    let fields = serde_json::json!({"httpMethod": "POST", "uri": scene.receiver.url("/x"), "event": r"OCA\OpenRegister\Event\ObjectCreatedEvent"});
    let reply = scene.sidecar.api("POST", path, fields).await;
    assert_eq!(reply.status, 400, "{}", reply.body);
    assert!(reply.body.contains("there are 10000 webhooks"), "{}", reply.body);
    assert_eq!(
        scene
            .count("SELECT count(*) FROM openregister_webhooks.webhook")
            .await,
        10_000
    );
    scene.sidecar.terminate().await;
}
