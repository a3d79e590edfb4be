//! Registrations in a real database: who sees them when, what is stored of their secrets, what is kept of who did what.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openregister_webhooks::registry::{
    AnyTarget, Auth, Caller, Changed, Defaults, Fields, Registration, Registry, RegistryError, Snapshot,
    Status, VaultError, WebhookId,
};
use orw_model::EventClass;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::api::{MASTER_KEY, installed, pool};
use crate::support::postgres::Db;
use crate::support::wait::PATIENCE;

const OTHER_KEY: &str = "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyb3Q=";

async fn open(db: &Db) -> Arc<Registry> {
    try_open(db, Some(MASTER_KEY)).await.unwrap()
}

async fn try_open(db: &Db, key: Option<&str>) -> Result<Arc<Registry>, RegistryError> {
    let key = key.map(|key| key.to_owned().into());
    Registry::open(pool(db), key.as_ref(), Defaults::default()).await
}

fn asked(more: Value) -> Registration {
    let mut body = json!({"httpMethod": "POST", "uri": "https://example.com/webhook",
        "event": r"OCA\OpenRegister\Event\ObjectCreatedEvent"});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    Registration::parse(&Fields::json(body.as_object().unwrap().clone()), &AnyTarget).unwrap()
}

fn by(user: &str) -> Caller {
    Caller {
        user: user.to_owned(),
        app_id: None,
        client: Some("192.0.2.1".to_owned()),
    }
}

async fn create(registry: &Registry, more: Value) -> Changed {
    registry.create(&by("admin"), asked(more)).await.unwrap()
}

fn class(name: &str) -> EventClass {
    EventClass::parse(&format!(r"OCA\OpenRegister\Event\{name}Event")).unwrap()
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_change_is_seen_at_once_here_and_soon_elsewhere() {
    let db = installed().await;
    let (here, there) = (open(&db).await, open(&db).await);
    let stop = CancellationToken::new();
    let watching = tokio::spawn({
        let (there, stop) = (Arc::clone(&there), stop.clone());
        async move { there.watch(stop).await }
    });
    let id = create(&here, json!({})).await.webhook.id;
    assert!(here.snapshot().get(id).is_some());
    until("seen elsewhere", || there.snapshot().get(id).is_some()).await;
    here.delete(&by("admin"), id).await.unwrap();
    assert!(here.snapshot().get(id).is_none());
    until("gone elsewhere", || there.snapshot().get(id).is_none()).await;
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test]
async fn a_transaction_sees_every_registration_that_was_committed_before_its_read() {
    let db = installed().await;
    let (here, there) = (open(&db).await, open(&db).await);
    let mut client = db.client().await;
    let tx = client.transaction().await.unwrap();
    assert_eq!(there.refresh_in(&tx).await.unwrap().all().len(), 0);
    let id = create(&here, json!({})).await.webhook.id;
    assert!(there.snapshot().get(id).is_none());
    assert!(there.refresh_in(&tx).await.unwrap().get(id).is_some());
    assert!(there.snapshot().get(id).is_some());
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn classes_are_indexed_and_disabled_webhooks_collect_nothing() {
    let db = installed().await;
    let registry = open(&db).await;
    let one = create(&registry, json!({})).await.webhook.id;
    let all = create(&registry, json!({"event": "*"})).await.webhook.id;
    let ids = |snapshot: &Snapshot, name: &str| -> Vec<WebhookId> {
        snapshot
            .for_class(class(name))
            .iter()
            .map(|webhook| webhook.id)
            .collect()
    };
    assert_eq!(ids(&registry.snapshot(), "ObjectCreated"), [one, all]);
    assert_eq!(ids(&registry.snapshot(), "AgentDeleted"), [all]);
    registry
        .set_status(&by("admin"), one, Status::Paused)
        .await
        .unwrap();
    let disabled = Status::Disabled {
        reason: "410 Gone".to_owned(),
        since: chrono::Utc::now(),
    };
    registry
        .set_status(&Caller::system(), all, disabled)
        .await
        .unwrap();
    assert_eq!(ids(&registry.snapshot(), "ObjectCreated"), [one]);
    assert_eq!(ids(&registry.snapshot(), "AgentDeleted"), []);
    let found = Arc::clone(registry.snapshot().get(all).unwrap());
    assert!(matches!(&found.status, Status::Disabled { reason, .. } if reason == "410 Gone"));
}

/// A verdict about the address that a webhook had: whichever process is behind, the transaction compares.
#[tokio::test]
async fn what_was_found_out_about_a_former_revision_disables_nothing() {
    let db = installed().await;
    let (here, there) = (open(&db).await, open(&db).await);
    let old = create(&here, json!({})).await.webhook;
    there.refresh().await.unwrap();
    let moved = asked(json!({"uri": "https://example.com/new"}));
    let new = here.update(&by("admin"), old.id, moved).await.unwrap().webhook;
    let gone = || "the receiver answered 410 Gone".to_owned();
    let refused = there.disable(old.id, old.revision, gone()).await;
    assert!(matches!(refused, Err(RegistryError::Changed(id)) if id == old.id));
    assert_eq!(
        there.refresh().await.unwrap().get(old.id).unwrap().status,
        Status::Enabled
    );
    let actions = async || -> Vec<String> {
        let rows = there.audit(Some(old.id), None, 10).await.unwrap();
        rows.into_iter().map(|row| row.action).collect()
    };
    assert_eq!(actions().await, ["update", "create"]);
    let disabled = there.disable(old.id, new.revision, gone()).await.unwrap().webhook;
    assert!(matches!(&disabled.status, Status::Disabled { reason, .. } if *reason == gone()));
    assert_eq!(actions().await, ["disable", "update", "create"]);
}

#[tokio::test]
async fn kinds_are_captured_while_a_registration_names_them() {
    let db = installed().await;
    let registry = open(&db).await;
    let client = db.client().await;
    let kinds = async || -> i32 {
        client
            .query_one("SELECT openregister_webhooks.kinds()", &[])
            .await
            .unwrap()
            .get(0)
    };
    let without = kinds().await;
    assert_eq!(without & 1, 0);
    let id = create(&registry, json!({})).await.webhook.id;
    assert_eq!(kinds().await, without | 1);
    registry
        .update(
            &by("admin"),
            id,
            asked(json!({"event": r"OCA\OpenRegister\Event\AgentCreatedEvent"})),
        )
        .await
        .unwrap();
    assert_eq!(kinds().await, without | 16);
    registry.delete(&by("admin"), id).await.unwrap();
    assert_eq!(kinds().await, without);
}

#[tokio::test]
async fn the_answer_waits_for_writers_that_began_before_a_kind_was_switched_on() {
    let db = installed().await;
    let registry = open(&db).await;
    let mut writer = db.client().await;
    let tx = writer.transaction().await.unwrap();
    tx.execute("INSERT INTO oc_users (uid) VALUES ('early')", &[])
        .await
        .unwrap();
    let creating = tokio::spawn({
        let registry = Arc::clone(&registry);
        async move { create(&registry, json!({})).await }
    });
    // The registration is committed, and its answer still waits.
    let other = open(&db).await;
    while other.refresh().await.unwrap().all().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(other.snapshot().all().len(), 1);
    assert!(!creating.is_finished());
    tx.commit().await.unwrap();
    assert_eq!(creating.await.unwrap().warnings, Vec::<String>::new());

    // A writer that began while the registration was being written, too: its transaction id is the larger one.
    let holder = db.client().await;
    holder
        .batch_execute("BEGIN; LOCK TABLE openregister_webhooks.settings IN SHARE MODE")
        .await
        .unwrap();
    let creating = tokio::spawn({
        let registry = Arc::clone(&registry);
        let agents = json!({"event": r"OCA\OpenRegister\Event\AgentCreatedEvent"});
        async move { create(&registry, agents).await }
    });
    let watcher = db.client().await;
    let blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'openregister_webhooks.settings'::regclass";
    while watcher.query_one(blocked, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let tx = writer.transaction().await.unwrap();
    tx.execute("INSERT INTO oc_users (uid) VALUES ('between')", &[])
        .await
        .unwrap();
    holder.batch_execute("COMMIT").await.unwrap();
    while other.refresh().await.unwrap().all().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!creating.is_finished());
    tx.commit().await.unwrap();
    assert_eq!(creating.await.unwrap().warnings, Vec::<String>::new());

    // A kind that is captured already waits for nobody: it would give a warning. One that is not waits for a bounded time, and
    // says so: the writer's transaction is still open.
    let tx = writer.transaction().await.unwrap();
    tx.execute("INSERT INTO oc_users (uid) VALUES ('late')", &[])
        .await
        .unwrap();
    assert!(create(&registry, json!({})).await.warnings.is_empty());
    let changed = create(&registry, json!({"event": "*"})).await;
    assert!(
        changed.warnings.iter().any(|w| w.contains("transactions")),
        "{:?}",
        changed.warnings
    );
    tx.rollback().await.unwrap();
}

#[tokio::test]
async fn no_secret_is_stored_in_clear() {
    let db = installed().await;
    let registry = open(&db).await;
    let secrets = [
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "Bearer-hidden",
        "hidden-key",
    ];
    let more = json!({"secret": secrets[0], "authMethod": "header", "authData": {"Authorization": secrets[1]},
        "headers": {"X-Api-Key": secrets[2]}});
    let id = create(&registry, more.clone()).await.webhook.id;
    registry.update(&by("admin"), id, asked(more)).await.unwrap();
    let client = db.client().await;
    let mut looked_at = 0;
    for table in ["webhook", "audit", "master_key", "registry"] {
        let sql = format!(
            "SELECT t::text, coalesce(encode(t::text::bytea, 'escape'), '') FROM openregister_webhooks.{table} t"
        );
        for row in client.query(&sql, &[]).await.unwrap() {
            let text: String = row.get(0);
            looked_at += 1;
            for secret in secrets {
                let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
                assert!(
                    !text.contains(secret) && !text.contains(&hex),
                    "{table}: {secret}"
                );
            }
        }
    }
    assert!(looked_at >= 5, "{looked_at}");
    // And they come back.
    let fresh = open(&db).await;
    let webhook = Arc::clone(fresh.snapshot().get(id).unwrap());
    assert_eq!(webhook.secrets[0].expose_secret(), secrets[0]);
    assert_eq!(webhook.headers.as_ref().unwrap()[0].1.expose_secret(), secrets[2]);
    assert!(!format!("{webhook:?}").contains("hidden"));
}

#[tokio::test]
async fn a_missing_or_wrong_key_is_a_clear_error() {
    let db = installed().await;
    assert!(matches!(
        try_open(&db, None).await,
        Err(RegistryError::Vault(VaultError::NoKey))
    ));
    open(&db).await;
    let error = try_open(&db, Some(OTHER_KEY)).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Vault(VaultError::WrongKey { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("ORW_MASTER_KEY"));
    open(&db).await;
}

#[tokio::test]
async fn the_master_key_is_changed_while_processes_run() {
    let db = installed().await;
    let both = |first: &str, second: &str| format!("{first},{second}");
    let old = open(&db).await;
    let id = create(
        &old,
        json!({"authMethod": "header", "authData": {"Authorization": "hidden"}}),
    )
    .await
    .webhook
    .id;
    let new_first = try_open(&db, Some(&both(OTHER_KEY, MASTER_KEY))).await.unwrap();
    assert!(new_first.snapshot().get(id).is_some());
    // A process that only knows the old key keeps what it knows of a webhook that it cannot read any more.
    new_first
        .update(&by("admin"), id, asked(json!({"uri": "https://example.com/new"})))
        .await
        .unwrap();
    let seen = old.refresh().await.unwrap();
    assert_eq!(seen.get(id).unwrap().uri, "https://example.com/webhook");
    assert_eq!(seen.unreadable().len(), 1);
    assert_eq!(seen.for_class(class("ObjectCreated")).len(), 1);
    // And none may start with it alone now.
    assert!(try_open(&db, Some(MASTER_KEY)).await.is_err());

    assert_eq!(new_first.rotate_key().await.unwrap(), 1);
    let new = try_open(&db, Some(OTHER_KEY)).await.unwrap();
    let webhook = Arc::clone(new.snapshot().get(id).unwrap());
    assert_eq!(webhook.uri, "https://example.com/new");
    assert!(webhook.auth_data_set && !webhook.secrets.is_empty());
    assert!(try_open(&db, Some(MASTER_KEY)).await.is_err());
}

#[tokio::test]
async fn a_rotated_secret_signs_beside_the_new_one_until_its_time_is_over() {
    let db = installed().await;
    let registry = open(&db).await;
    let first = create(&registry, json!({})).await;
    let id = first.webhook.id;
    let rotate = async |overlap| {
        registry
            .rotate_secret(&by("admin"), id, None, Duration::from_secs(overlap))
            .await
            .unwrap()
    };
    let second = rotate(3600).await;
    let shown = second.secret.unwrap();
    assert_eq!(second.webhook.secrets.len(), 2);
    assert_eq!(second.webhook.secrets[0].expose_secret(), shown.expose_secret());
    assert_eq!(
        second.webhook.secrets[1].expose_secret(),
        first.secret.unwrap().expose_secret()
    );
    // A short overlap shortens the old ones' too, and a process that only watches notices the end.
    rotate(1).await;
    let stop = CancellationToken::new();
    let watching = tokio::spawn({
        let (registry, stop) = (Arc::clone(&registry), stop.clone());
        async move { registry.watch(stop).await }
    });
    assert_eq!(registry.snapshot().get(id).unwrap().secrets.len(), 3);
    until("the old ones end", || {
        registry.snapshot().get(id).unwrap().secrets.len() == 1
    })
    .await;
    stop.cancel();
    watching.await.unwrap();
    for _ in 0..10 {
        rotate(3600).await;
    }
    assert_eq!(registry.snapshot().get(id).unwrap().secrets.len(), 5);
}

#[tokio::test]
async fn who_did_what_is_kept() {
    let db = installed().await;
    let registry = open(&db).await;
    let id = create(&registry, json!({"headers": {"X-Token": "hidden"}}))
        .await
        .webhook
        .id;
    registry.set_status(&by("eve"), id, Status::Paused).await.unwrap();
    registry
        .rotate_secret(&by("admin"), id, None, Duration::ZERO)
        .await
        .unwrap();
    registry.delete(&by("bob"), id).await.unwrap();
    assert!(!registry.delete(&by("bob"), id).await.unwrap());
    let entries = registry.audit(Some(id), None, 10).await.unwrap();
    let told: Vec<_> = entries
        .iter()
        .map(|e| (e.who.as_str(), e.action.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("bob", "delete"),
            ("admin", "rotate-secret"),
            ("eve", "pause"),
            ("admin", "create")
        ]
    );
    assert_eq!(entries[3].detail["headers"], json!(["X-Token"]));
    assert_eq!(entries[3].client.as_deref(), Some("192.0.2.1"));
    let page = registry.audit(None, Some(entries[1].id), 1).await.unwrap();
    assert_eq!(page[0].action, "pause");
}

#[tokio::test]
async fn an_unreadable_row_stops_nobody_else() {
    let db = installed().await;
    let registry = open(&db).await;
    let bad = create(&registry, json!({})).await.webhook.id;
    let good = create(&registry, json!({})).await.webhook.id;
    let client = db.client().await;
    let spoil = "UPDATE openregister_webhooks.webhook SET secrets = '\\x0200' WHERE id = $1";
    client.execute(spoil, &[&bad.0]).await.unwrap();
    let fresh = open(&db).await;
    let snapshot = fresh.snapshot();
    assert!(snapshot.get(good).is_some() && snapshot.get(bad).is_none());
    assert_eq!(snapshot.unreadable().len(), 1);
    let error = fresh
        .update(&by("admin"), bad, asked(json!({})))
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Unreadable { .. }), "{error}");
    assert!(fresh.delete(&by("admin"), bad).await.unwrap());
}

#[tokio::test]
async fn changes_by_many_at_once_have_one_order() {
    let db = installed().await;
    let registry = open(&db).await;
    let id = create(&registry, json!({})).await.webhook.id;
    let tasks: Vec<_> = (0..20)
        .map(|i| {
            let registry = Arc::clone(&registry);
            tokio::spawn(async move {
                let uri = format!("https://example.com/{i}");
                let changed = registry
                    .update(&by("admin"), id, asked(json!({"uri": uri})))
                    .await
                    .unwrap();
                create(&registry, json!({"uri": uri})).await;
                changed.webhook.revision
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let snapshot = registry.refresh().await.unwrap();
    assert_eq!(snapshot.all().len(), 21);
    let mut revisions: Vec<_> = snapshot.all().iter().map(|webhook| webhook.revision).collect();
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len(), 21);
    assert_eq!(snapshot.revision(), open(&db).await.snapshot().revision());
}

#[tokio::test]
async fn credentials_do_not_follow_to_another_origin() {
    let db = installed().await;
    let registry = open(&db).await;
    let more = json!({"authMethod": "header", "authData": {"Authorization": "Bearer-hidden"},
        "headers": {"X-Api-Key": "hidden-key", "X-A": "1"}});
    let id = create(&registry, more.clone()).await.webhook.id;
    let update = async |uri: &str, more: Value| {
        let mut body = more;
        body["uri"] = uri.into();
        registry.update(&by("mallory"), id, asked(body)).await
    };
    let masked = json!({"authMethod": "header", "authData": {"Authorization": "***"}, "headers": {"X-Api-Key": "***"}});
    // Within the origin everything stays.
    let kept = update("https://EXAMPLE.com:443/other?a=1", masked.clone())
        .await
        .unwrap()
        .webhook;
    assert_eq!(kept.headers.as_ref().unwrap()[0].1.expose_secret(), "hidden-key");
    for elsewhere in [
        "https://evil.example/",
        "https://example.com:8443/",
        "http://example.com/webhook",
    ] {
        for (more, field) in [
            (masked.clone(), "headers.X-Api-Key"),
            (json!({}), "headers.X-Api-Key"),
            (
                json!({"headers": {}, "authMethod": "header", "authData": {"Authorization": "***"}}),
                "authData.Authorization",
            ),
        ] {
            let error = update(elsewhere, more).await.unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{field}: uri moves to another origin")),
                "{error}"
            );
        }
    }
    assert_eq!(registry.snapshot().get(id).unwrap().uri, kept.uri);
    // Moved without authentication first, it is not there to be switched on later.
    let moved = update("https://evil.example/", json!({"headers": {}}))
        .await
        .unwrap();
    assert!(!moved.webhook.auth_data_set);
    update(
        "https://evil.example/",
        json!({"authMethod": "header", "authData": {"Authorization": "***"}}),
    )
    .await
    .unwrap();
    let webhook = Arc::clone(registry.snapshot().get(id).unwrap());
    let Auth::Header(sent) = &webhook.auth else {
        panic!("{webhook:?}")
    };
    assert_eq!(sent[0].1.expose_secret(), "***");
    // Whoever sends them may move them.
    update("https://example.org/", more).await.unwrap();
}

/// What somebody does who may write to the tables and has no master key.
async fn move_in_the_table(db: &Db, id: WebhookId, uri: &str) {
    let client = db.client().await;
    client
        .execute(
            "UPDATE openregister_webhooks.webhook SET uri = $2 WHERE id = $1",
            &[&id.0, &uri],
        )
        .await
        .unwrap();
    client
        .batch_execute("UPDATE openregister_webhooks.registry SET revision = revision + 1")
        .await
        .unwrap();
}

fn with_credentials() -> Value {
    json!({"authMethod": "header", "authData": {"Authorization": "Bearer-hidden"}, "headers": {"X-Api-Key": "hidden-key"}})
}

fn authorization(snapshot: &Snapshot, id: WebhookId) -> String {
    match &snapshot.get(id).unwrap().auth {
        Auth::Header(sent) => sent[0].1.expose_secret().to_owned(),
        Auth::None => panic!("no authData"),
    }
}

#[tokio::test]
async fn stored_credentials_do_not_follow_a_uri_that_is_changed_in_the_table() {
    let db = installed().await;
    let registry = open(&db).await;
    for (elsewhere, more) in [
        ("https://evil.example/webhook", with_credentials()),
        ("https://example.com:8443/webhook", with_credentials()),
        ("http://example.com/webhook", json!({})),
    ] {
        let id = create(&registry, more).await.webhook.id;
        move_in_the_table(&db, id, elsewhere).await;
        // A process that knows the webhook keeps it as it was.
        let snapshot = registry.refresh().await.unwrap();
        assert_eq!(snapshot.get(id).unwrap().uri, "https://example.com/webhook");
        assert!(
            snapshot.unreadable()[0]
                .1
                .contains("its uri was changed in the table"),
            "{:?}",
            snapshot.unreadable()
        );
        // One that starts later sends nothing for it.
        assert!(open(&db).await.snapshot().get(id).is_none());
        assert!(registry.delete(&by("admin"), id).await.unwrap());
    }
    // Within the origin everything stays, in the table as in the API.
    let id = create(&registry, with_credentials()).await.webhook.id;
    move_in_the_table(&db, id, "https://EXAMPLE.com:443/another").await;
    assert_eq!(authorization(&open(&db).await.snapshot(), id), "Bearer-hidden");
    let left_out = json!({"uri": "https://example.com/third"});
    registry.update(&by("admin"), id, asked(left_out)).await.unwrap();
    assert!(open(&db).await.snapshot().get(id).unwrap().auth_data_set);
    let masked = json!({"uri": "https://example.com/fourth", "authMethod": "header", "authData": {"Authorization": "***"}});
    registry.update(&by("admin"), id, asked(masked)).await.unwrap();
    let fresh = open(&db).await.snapshot();
    assert_eq!(authorization(&fresh, id), "Bearer-hidden");
    assert_eq!(fresh.get(id).unwrap().uri, "https://example.com/fourth");
}

/// The first bytes of what is stored of secrets: the form.
async fn forms(db: &Db) -> Vec<i32> {
    let rows = db
        .client()
        .await
        .query(
            "SELECT DISTINCT get_byte(c, 0) FROM openregister_webhooks.webhook w, \
             unnest(ARRAY[w.headers, w.auth_data, w.secrets]) c WHERE c IS NOT NULL",
            &[],
        )
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn an_upgrade_seals_anew_once_no_older_process_lives() {
    let db = installed().await;
    let client = db.client().await;
    // A process of an older version: it does not say what it reads.
    client
        .batch_execute(
            "INSERT INTO openregister_webhooks.worker (id, name, alive_until, backend_pid, backend_start) \
             VALUES (gen_random_uuid(), 'older', now() + interval '1 hour', 1, now())",
        )
        .await
        .unwrap();
    let registry = open(&db).await;
    let id = create(&registry, with_credentials()).await.webhook.id;
    // It goes on reading everything, also what is registered through a newer one.
    assert_eq!(forms(&db).await, [1]);
    let kept: Vec<u8> = client
        .query_one(
            "SELECT auth_data FROM openregister_webhooks.webhook WHERE id = $1",
            &[&id.0],
        )
        .await
        .unwrap()
        .get(0);
    let stop = CancellationToken::new();
    let watching = tokio::spawn({
        let (registry, stop) = (Arc::clone(&registry), stop.clone());
        async move { registry.watch(stop).await }
    });
    client
        .batch_execute("DELETE FROM openregister_webhooks.worker")
        .await
        .unwrap();
    let until = Instant::now() + PATIENCE;
    while forms(&db).await != [2] {
        assert!(Instant::now() < until, "never sealed anew");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for snapshot in [registry.refresh().await.unwrap(), open(&db).await.snapshot()] {
        assert_eq!(authorization(&snapshot, id), "Bearer-hidden");
        assert!(snapshot.unreadable().is_empty());
    }
    stop.cancel();
    watching.await.unwrap();

    // From then on the old form is neither stored nor read, whoever kept a text of it.
    let put = "UPDATE openregister_webhooks.webhook SET auth_data = $2, uri = 'https://evil.example/' WHERE id = $1";
    let refused = client.execute(put, &[&id.0, &kept]).await.unwrap_err();
    assert!(
        refused
            .as_db_error()
            .unwrap()
            .message()
            .contains("a newer version"),
        "{refused:?}"
    );
    client
        .batch_execute("ALTER TABLE openregister_webhooks.webhook DISABLE TRIGGER check_sealed")
        .await
        .unwrap();
    client.execute(put, &[&id.0, &kept]).await.unwrap();
    assert!(open(&db).await.snapshot().get(id).is_none());
}
