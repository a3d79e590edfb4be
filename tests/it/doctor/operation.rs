//! What goes wrong while the program runs: triggers that are gone, work that is late, poolers.

use openregister_webhooks::capture::DoorbellMode;
use openregister_webhooks::doctor::Level;
use orw_testkit::Generation;
use orw_testkit::postgres::Options;

use super::common::{assert_says, examine, examine_as, only_error};
use crate::support::cli::{Cli, install};
use crate::support::pgbouncer::{Bouncer, Found};
use crate::support::postgres::{Db, NEXTCLOUD, PASSWORD, Server};
use crate::support::skipped::skipped;

#[tokio::test]
async fn a_trigger_that_is_gone_or_disabled_or_another_is_found() {
    let db = Db::openregister_0_2_13().await;
    install(&db).await;
    let owner = db.client().await;
    let table = "oc_openregister_registers";
    let cases = [
        (
            format!("DROP TRIGGER openregister_webhooks_capture ON {table}"),
            "it has no trigger",
            "somebody dropped it",
            "openregister-webhooks install",
        ),
        (
            format!("ALTER TABLE {table} DISABLE TRIGGER openregister_webhooks_capture"),
            "its trigger is disabled",
            "DISABLE TRIGGER",
            "ENABLE TRIGGER openregister_webhooks_capture",
        ),
        (
            format!("ALTER TABLE {table} ENABLE REPLICA TRIGGER openregister_webhooks_capture"),
            "fires in replicas only",
            "ENABLE REPLICA TRIGGER",
            "ENABLE TRIGGER openregister_webhooks_capture",
        ),
        (
            format!(
                "DROP TRIGGER openregister_webhooks_capture ON {table}; CREATE TRIGGER openregister_webhooks_capture \
                 AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION openregister_webhooks.capture(2, plain)"
            ),
            "its trigger is another",
            "replaced",
            "DROP TRIGGER openregister_webhooks_capture",
        ),
    ];
    for (damage, what, cause, remedy) in cases {
        owner.batch_execute(&damage).await.unwrap();
        let report = examine_as(&db, NEXTCLOUD).await;
        let finding = only_error(&report);
        assert_says(finding, what, cause, remedy);
        assert_eq!(finding.subject.as_deref(), Some(table));
        let repair = format!("DROP TRIGGER IF EXISTS openregister_webhooks_capture ON {table}");
        owner.batch_execute(&repair).await.unwrap();
        install(&db).await;
        assert_eq!(examine_as(&db, NEXTCLOUD).await.count(Level::Error), 0);
    }
    owner
        .batch_execute("DROP TRIGGER openregister_webhooks_hook ON oc_appconfig")
        .await
        .unwrap();
    let report = examine_as(&db, NEXTCLOUD).await;
    let hook = report.findings.iter().find(|f| f.check == "hook").unwrap();
    assert_eq!(hook.level, Level::Warning);
    assert_says(hook, "oc_appconfig is missing", "dropped", "install");
}

#[tokio::test]
async fn what_is_late_lost_or_held_open_is_found() {
    let db = Db::openregister_0_2_13().await;
    install(&db).await;
    let owner = db.client().await;
    owner
        .batch_execute(
            "UPDATE oc_openregister_registers SET title = 'late'; \
             UPDATE openregister_webhooks.change_0 SET at = at - interval '10 min'; \
             INSERT INTO openregister_webhooks.gap (tbl, reason, remedy) VALUES ('oc_x', 'because', 'backfill it'); \
             INSERT INTO openregister_webhooks.quarantine (lsn, xid, ordinal, tbl, op, found, pid, at, reason) \
             VALUES ('0/0', '1', 0, 'oc_y', 'I', false, 1, now(), 'not JSON'); \
             INSERT INTO openregister_webhooks.webhook (revision, user_id, http_method, uri, event, classes, status, status_reason) \
             VALUES (1, 'admin', 'POST', 'https://token-in-a-path', 'x', '{ObjectCreatedEvent}', 'disabled', 'the receiver said 410'), \
                    (1, 'admin', 'POST', 'https://token-in-a-path', 'x', '{ObjectCreatedEvent}', 'enabled', NULL); \
             INSERT INTO openregister_webhooks.webhook_health (webhook, revision, failures, failing_since, last_cause) \
             VALUES (1000000001, 1, 7, now() - interval '1 hour', 'timeout'); \
             INSERT INTO openregister_webhooks.delivery (webhook, event_day, event_seq, lane, head, state, due_at, reason, deadline_at) \
             VALUES (1000000001, current_date, 1, 'object:x', true, 'retrying', now(), 'live', now() + interval '1 day')",
        )
        .await
        .unwrap();
    let report = examine_as(&db, NEXTCLOUD).await;
    let late = only_error(&report);
    assert_says(late, "1 changes are unread", "nobody reads", "sidecar's log");
    assert_eq!(late.value, Some(1.0));
    let find = |check: &str| report.findings.iter().find(|f| f.check == check).unwrap();
    assert_says(find("gap"), "events of oc_x", "because", "backfill it");
    let failing: Vec<_> = report.findings.iter().filter(|f| f.check == "webhooks").collect();
    assert_says(
        failing[0],
        "1000000000 is disabled",
        "410",
        "webhook enable 1000000000",
    );
    assert_says(
        failing[1],
        "1000000001 has failed 7 times in a row, for 60 min",
        "timeout",
        "receiver's own log",
    );
    assert_says(
        find("deliveries"),
        "unfinished deliveries: 1; processes that deliver: 0",
        "no sidecar runs",
        "run",
    );
    assert!(!report.json().to_string().contains("token-in-a-path"));
    assert_says(
        find("quarantine"),
        "1 changes could not be processed",
        "not JSON",
        "openregister_webhooks.quarantine",
    );
}

#[tokio::test]
async fn a_pooler_of_transactions_is_found_and_poll_works_through_it() {
    let server = Server::dedicated(Options {
        tcp: true,
        ..Options::default()
    })
    .await;
    let db = server.openregister(Generation::V0_2_13).await;
    install(&db).await;
    let bouncer = match Bouncer::start(&server, &db, "transaction").await {
        Found::Running(bouncer) => bouncer,
        Found::Missing(why) => {
            skipped(
                "a_pooler_of_transactions_is_found_and_poll_works_through_it",
                &why,
            );
            return;
        }
    };
    let report = examine(&bouncer.url(NEXTCLOUD, PASSWORD), |_| {}).await;
    assert_says(
        only_error(&report),
        "a transaction-pooling PgBouncer is between",
        "LISTEN and the leader's lock",
        "ORW_DOORBELL=poll",
    );
    // Debian's 1.18 forgets prepared statements; from 1.21 on a PgBouncer may keep them, and then poll works.
    let poll = examine(&bouncer.url(NEXTCLOUD, PASSWORD), |s| {
        s.doorbell = DoorbellMode::Poll
    })
    .await;
    let found = poll.findings.iter().find(|f| f.check == "pooler").unwrap();
    if poll.count(Level::Error) == 0 {
        assert!(
            found.level == Level::Ok && found.what.contains("poll works"),
            "{found}"
        );
    } else {
        assert_says(
            only_error(&poll),
            "does not keep prepared statements",
            "deliveries and the API",
            "max_prepared_statements",
        );
    }
    let run = Cli::new(&bouncer.url(NEXTCLOUD, PASSWORD)).run(&["run"]).await;
    assert!(run.code != 0 && run.err.contains("PgBouncer"), "{run:?}");

    // Commands that must not run through a pooler refuse to.
    let cli = Cli::new(&bouncer.url(NEXTCLOUD, PASSWORD))
        .run(&["install"])
        .await;
    assert_eq!(cli.code, 2, "{cli:?}");
    assert!(
        cli.err.contains("PgBouncer") && cli.err.contains("5432"),
        "{cli:?}"
    );

    let wrong = examine(&bouncer.url(NEXTCLOUD, "not-it"), |_| {}).await;
    assert_says(
        only_error(&wrong),
        "does not accept nextcloud",
        "authentication failed",
        "password",
    );
    drop(bouncer);

    // A session-pooling PgBouncer is no problem.
    let Found::Running(bouncer) = Bouncer::start(&server, &db, "session").await else {
        unreachable!("it ran a moment ago")
    };
    let report = examine(&bouncer.url(NEXTCLOUD, PASSWORD), |_| {}).await;
    assert_eq!(report.count(Level::Error), 0, "{report:#?}");
}
