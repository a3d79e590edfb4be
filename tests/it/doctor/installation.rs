//! What can be wrong with an installation: rights, prefix, schema, roles.

use openregister_webhooks::doctor::Level;
use orw_testkit::Generation;

use super::common::{assert_says, examine, examine_as, only_error, trouble};
use crate::support::cli::{Cli, install};
use crate::support::nextcloud::Nextcloud;
use crate::support::postgres::{DBA, Db, NEXTCLOUD};

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

    // There is no terminal at which to ask.
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
