//! `doctor`: each thing that goes wrong is named with its cause and its remedy, and nothing else is.

mod connection;

use std::path::Path;

use openregister_webhooks::capture::DoorbellMode;
use openregister_webhooks::config::Settings;
use openregister_webhooks::database::Database;
use openregister_webhooks::doctor::{self, Finding, Level, Report};
use orw_testkit::Generation;
use orw_testkit::postgres::Options;

use crate::support::cli::{Cli, install};
use crate::support::nextcloud::Nextcloud;
use crate::support::pgbouncer::{Bouncer, Found};
use crate::support::postgres::{DBA, Db, NEXTCLOUD, PASSWORD, Server};
use crate::support::skipped::skipped;

async fn examine(url: &str, change: impl FnOnce(&mut Settings)) -> Report {
    let mut settings = Settings::new(url);
    change(&mut settings);
    let database = Database::new(&settings.database_url, orw_egress::client_config(None).unwrap()).unwrap();
    doctor::examine(&database, &settings).await
}

async fn examine_as(db: &Db, role: &str) -> Report {
    examine(&db.url(role), |_| {}).await
}

/// Trusts the authority of this file too.
async fn examine_trusting(url: &str, ca_file: &Path) -> Report {
    let settings = Settings::new(url);
    let tls = orw_egress::client_config(Some(ca_file)).unwrap();
    let database = Database::new(&settings.database_url, tls).unwrap();
    doctor::examine(&database, &settings).await
}

/// Every finding but those that are fine or only to know, as text.
fn trouble(report: &Report) -> Vec<&Finding> {
    report
        .findings
        .iter()
        .filter(|f| f.level >= Level::Warning)
        .collect()
}

/// The one error there must be.
fn only_error(report: &Report) -> &Finding {
    let errors: Vec<_> = report
        .findings
        .iter()
        .filter(|f| f.level == Level::Error)
        .collect();
    assert_eq!(errors.len(), 1, "{report:#?}");
    errors[0]
}

/// Says all of it, with its cause and remedy.
fn assert_says(finding: &Finding, what: &str, cause: &str, remedy: &str) {
    assert!(finding.what.contains(what), "what: {finding}");
    let said = finding.cause.as_deref().unwrap_or_default();
    assert!(said.contains(cause), "cause: {finding}");
    let said = finding.remedy.as_deref().unwrap_or_default();
    assert!(said.contains(remedy), "remedy: {finding}");
}

#[tokio::test]
async fn a_healthy_installation_has_nothing_but_no_sidecar() {
    for generation in Generation::ALL {
        let db = Db::openregister(generation).await;
        install(&db).await;
        let report = examine_as(&db, NEXTCLOUD).await;
        let trouble = trouble(&report);
        assert_eq!(trouble.len(), 1, "{report:#?}");
        assert_says(
            trouble[0],
            "nobody reads the outbox",
            "no sidecar runs",
            "openregister-webhooks run",
        );
        for check in [
            "connection",
            "pooler",
            "version",
            "clock",
            "connections",
            "schema",
            "rights",
            "triggers",
            "hook",
            "backlog",
            "kinds",
            "deliveries",
            "size",
        ] {
            assert!(
                report
                    .findings
                    .iter()
                    .any(|f| f.check == check && f.level == Level::Ok),
                "{check}: {report:#?}"
            );
        }
    }
}

#[tokio::test]
async fn the_commands_install_examine_and_uninstall() {
    let db = Db::openregister_0_2_13().await;
    let cli = Cli::new(&db.url(NEXTCLOUD));
    let before = cli.run(&["doctor"]).await;
    assert_eq!(before.code, 1, "{before:?}");
    assert!(
        before.out.contains("there is no schema openregister_webhooks"),
        "{before:?}"
    );

    let installed = cli.run(&["install"]).await;
    assert_eq!(installed.code, 0, "{installed:?}");
    assert!(
        installed.out.contains("captured  oc_openregister_table_1_1"),
        "{installed:?}"
    );
    let again = cli.run(&["install", "--json"]).await;
    assert_eq!(again.json()["migrations"], serde_json::json!([]));

    let healthy = cli.run(&["doctor", "--json"]).await;
    assert_eq!(healthy.code, 0, "{healthy:?}");
    assert_eq!(healthy.json()["level"], "warning", "{healthy:?}");

    // Nobody is at a terminal to be asked.
    let refused = cli.run(&["uninstall"]).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.err.contains("0 webhooks") && refused.err.contains("--yes"),
        "{refused:?}"
    );
    let gone = cli.run(&["uninstall", "--yes"]).await;
    assert_eq!(gone.code, 0, "{gone:?}");
    let nothing = cli.run(&["uninstall", "--yes", "--json"]).await;
    assert_eq!(nothing.json()["removed"], false);
    let adopt = cli.run(&["adopt", "--discard"]).await;
    assert_eq!(adopt.code, 1, "{adopt:?}");
    assert!(adopt.err.contains("not in this database"), "{adopt:?}");
    let undecided = cli.run(&["adopt"]).await;
    assert_eq!(undecided.code, 2, "{undecided:?}");
}

#[tokio::test]
async fn a_role_without_rights_is_told_which_and_from_whom() {
    let db = Db::openregister_0_2_13().await;
    install(&db).await;
    let role = db.role("stranger").await;
    let report = examine_as(&db, &role).await;
    let remedy = format!("openregister-webhooks install --runtime-role {role}");
    assert_says(
        only_error(&report),
        &format!("{role} has no right on the schema"),
        "belongs to nextcloud",
        &remedy,
    );

    let cli = Cli::new(&db.url(&role)).run(&["uninstall", "--yes"]).await;
    assert_eq!(cli.code, 1, "{cli:?}");
    assert!(cli.err.contains("may not act for nextcloud"), "{cli:?}");

    // The remedy works.
    let cli = Cli::new(&db.url(NEXTCLOUD))
        .run(&["install", "--runtime-role", &role])
        .await;
    assert_eq!(cli.code, 0, "{cli:?}");
    let report = examine_as(&db, &role).await;
    assert_eq!(report.count(Level::Error), 0, "{report:#?}");

    // One right less, and the statement that gives it back.
    let owner = db.client().await;
    owner
        .batch_execute(&format!(
            "REVOKE TRUNCATE ON openregister_webhooks.change_1 FROM {role}"
        ))
        .await
        .unwrap();
    let report = examine_as(&db, &role).await;
    let grant = format!("GRANT TRUNCATE ON openregister_webhooks.change_1 TO {role}");
    assert_says(only_error(&report), "lacks 1 rights", "TRUNCATE", &grant);
    owner.batch_execute(&grant).await.unwrap();
    owner
        .batch_execute(&format!("REVOKE SELECT ON oc_users FROM {role}"))
        .await
        .unwrap();
    let report = examine_as(&db, &role).await;
    assert_says(
        only_error(&report),
        "lacks 1 rights",
        "public.oc_users",
        "GRANT SELECT (displayname, uid) ON public.oc_users",
    );
}

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
        "1 deliveries are unfinished; 0 processes",
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
async fn another_database_another_prefix_and_an_older_schema_are_found() {
    let db = Db::openregister_0_2_13().await;
    let nothing = examine_as(&db, NEXTCLOUD).await;
    assert_says(
        only_error(&nothing),
        "nothing is installed",
        "no schema",
        "openregister-webhooks install",
    );
    install(&db).await;
    let prefix = examine(&db.url(NEXTCLOUD), |s| s.table_prefix = "nc_".to_owned()).await;
    assert_says(
        only_error(&prefix),
        "the installation is for oc_",
        "",
        "ORW_TABLE_PREFIX=oc_",
    );
    let owner = db.client().await;
    let last = "DELETE FROM openregister_webhooks.migration WHERE version > 1";
    owner.batch_execute(last).await.unwrap();
    let older = examine_as(&db, NEXTCLOUD).await;
    assert_says(
        only_error(&older),
        "the schema has version 1",
        "newer",
        "openregister-webhooks install",
    );
    let newer = "INSERT INTO openregister_webhooks.migration (version, name) VALUES (999, 'future')";
    owner.batch_execute(newer).await.unwrap();
    let newer = examine_as(&db, NEXTCLOUD).await;
    assert_says(
        only_error(&newer),
        "has version 999",
        "this program is older",
        "run the newer program",
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

    // What must not go through it refuses to.
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

    // One that pools sessions is as good as none.
    let Found::Running(bouncer) = Bouncer::start(&server, &db, "session").await else {
        unreachable!("it ran a moment ago")
    };
    let report = examine(&bouncer.url(NEXTCLOUD, PASSWORD), |_| {}).await;
    assert_eq!(report.count(Level::Error), 0, "{report:#?}");
}

#[tokio::test]
async fn a_superuser_is_told_that_less_would_do() {
    let db = Db::openregister_0_2_13().await;
    install(&db).await;
    let report = examine_as(&db, DBA).await;
    assert_eq!(report.count(Level::Error), 0, "{report:#?}");
    let found = report.findings.iter().any(|f| f.what.contains("is a superuser"));
    assert!(found, "{report:#?}");
}

#[tokio::test]
async fn nextcloud_is_looked_for_where_it_should_be() {
    let db = Db::openregister(Generation::ALL[0]).await;
    install(&db).await;
    let mut nextcloud = Nextcloud::start().await;
    let url = nextcloud.url();
    let look = async || {
        let report = examine(&db.url(NEXTCLOUD), |s| s.nextcloud_url = Some(url.clone())).await;
        let found = report.findings.iter().find(|f| f.check == "nextcloud");
        found.unwrap().clone()
    };
    let fine = look().await;
    assert_eq!(fine.level, Level::Ok, "{fine}");
    assert!(fine.what.contains("Nextcloud 32.0.1 answers"), "{fine}");
    nextcloud.mood(|mood| mood.maintenance = true);
    let resting = look().await;
    assert_eq!(resting.level, Level::Warning, "{resting}");
    assert_says(
        &resting,
        "maintenance mode",
        "nobody can log in",
        "maintenance:mode --off",
    );
    nextcloud.mood(|mood| {
        mood.maintenance = false;
        mood.needs_upgrade = true;
    });
    let waiting = look().await;
    assert_eq!(waiting.level, Level::Warning, "{waiting}");
    assert_says(
        &waiting,
        "waits for its upgrade",
        "nobody can log in",
        "occ upgrade",
    );
    nextcloud.mood(|mood| mood.maintenance = true);
    let upgrading = look().await;
    assert_eq!(upgrading.level, Level::Warning, "{upgrading}");
    assert_says(
        &upgrading,
        "in maintenance mode, and waits for its upgrade",
        "nobody can log in",
        "occ upgrade",
    );
    nextcloud.mood(|mood| mood.installed = false);
    let empty = look().await;
    assert_eq!(empty.level, Level::Error, "{empty}");
    assert_says(
        &empty,
        "is not set up",
        "installed: false",
        "occ maintenance:install",
    );
    nextcloud.kill().await;
    let away = look().await;
    assert_eq!(away.level, Level::Error, "{away}");
    assert_says(&away, "does not answer", "refused", "ORW_NEXTCLOUD_URL");
    let none = examine(&db.url(NEXTCLOUD), |_| {}).await;
    assert!(none.findings.iter().all(|f| f.check != "nextcloud"));
}
