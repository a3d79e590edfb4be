//! A database that is restored under a running process: the process uses the restored registrations at its next look.

use std::process::Command;
use std::sync::Arc;

use openregister_webhooks::registry::{
    AnyTarget, Caller, Defaults, Fields, Registration, Registry, Webhook, WebhookId,
};
use serde_json::json;
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use crate::support::api::{MASTER_KEY, installed, pool};
use crate::support::postgres::{DBA, Db};
use crate::support::wait::until;

async fn open(db: &Db) -> Arc<Registry> {
    let key = MASTER_KEY.to_owned().into();
    Registry::open(pool(db), Some(&key), Defaults::default())
        .await
        .unwrap()
}

fn by() -> Caller {
    Caller {
        user: "admin".to_owned(),
        app_id: None,
        client: None,
    }
}

async fn create(registry: &Registry, uri: &str) -> Arc<Webhook> {
    let body =
        json!({"httpMethod": "POST", "uri": uri, "event": r"OCA\OpenRegister\Event\ObjectCreatedEvent"});
    let fields = Fields::json(body.as_object().unwrap().clone());
    let asked = Registration::parse(&fields, &AnyTarget).unwrap();
    registry.create(&by(), asked).await.unwrap().webhook
}

async fn run(db: &Db, program: &'static str, arguments: Vec<String>) {
    let bin = db.server().postgres.programs().bin().to_owned();
    let url = db.url(DBA);
    tokio::task::spawn_blocking(move || {
        let done = Command::new(bin.join(program))
            .args(arguments)
            .args(["--dbname", &url])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{program}: {said}");
    })
    .await
    .unwrap();
}

/// Our schema as it is now.
async fn dump(db: &Db) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let to = file.path().to_str().unwrap().to_owned();
    let arguments = ["--format=custom", "--schema=openregister_webhooks", "--file"];
    let arguments = arguments.map(str::to_owned).into_iter().chain([to]).collect();
    run(db, "pg_dump", arguments).await;
    file
}

/// Our schema as it was then; Nextcloud's tables stay.
async fn restore(db: &Db, file: &NamedTempFile) {
    db.client_as(DBA)
        .await
        .batch_execute("DROP SCHEMA openregister_webhooks CASCADE")
        .await
        .unwrap();
    let from = file.path().to_str().unwrap().to_owned();
    run(db, "pg_restore", vec!["--exit-on-error".to_owned(), from]).await;
}

fn ids(registry: &Registry) -> Vec<WebhookId> {
    registry
        .snapshot()
        .all()
        .iter()
        .map(|webhook| webhook.id)
        .collect()
}

#[tokio::test]
async fn what_was_registered_after_the_backup_is_gone_and_what_was_deleted_is_back() {
    let db = installed().await;
    let here = open(&db).await;
    let kept = create(&here, "https://example.com/kept").await;
    let backup = dump(&db).await;
    let later = create(&here, "https://example.com/later").await;
    here.delete(&by(), kept.id).await.unwrap();
    assert_eq!(ids(&here), [later.id]);

    let stop = CancellationToken::new();
    let watching = tokio::spawn({
        let (here, stop) = (Arc::clone(&here), stop.clone());
        async move { here.watch(stop).await }
    });
    restore(&db, &backup).await;
    until("the registrations of the backup", async || {
        ids(&here) == [kept.id]
    })
    .await;
    // Changes go on from there.
    let new = create(&here, "https://example.com/new").await;
    assert_eq!(ids(&here), [kept.id, new.id]);
    stop.cancel();
    watching.await.unwrap();
}

/// The revision is the same again, and what is registered is not.
#[tokio::test]
async fn another_history_is_not_taken_for_the_one_that_is_known() {
    let db = installed().await;
    let (here, there) = (open(&db).await, open(&db).await);
    let kept = create(&here, "https://example.com/kept").await;
    let backup = dump(&db).await;
    create(&here, "https://example.com/one").await;
    let revision = here.snapshot().revision();
    restore(&db, &backup).await;
    there.refresh().await.unwrap();
    let other = create(&there, "https://example.com/other").await;
    assert_eq!(there.snapshot().revision(), revision);
    let seen = here.refresh().await.unwrap();
    assert_eq!(seen.get(other.id).unwrap().uri, "https://example.com/other");
    assert_eq!(ids(&here), [kept.id, other.id]);
    // Also where the rows were put back by hand: the table is the same one, and there was no restore to be seen.
    let owner = db.client().await;
    owner
        .batch_execute("UPDATE openregister_webhooks.registry SET revision = revision - 2; DELETE FROM openregister_webhooks.webhook")
        .await
        .unwrap();
    here.refresh().await.unwrap();
    assert_eq!(ids(&here), []);
}
