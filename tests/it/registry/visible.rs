//! Which process sees a registration when, what a registration switches on, and the record of who changed what.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use openregister_webhooks::registry::{Caller, RegistryError, Snapshot, Status, WebhookId};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::common::{asked, by, class, create, open};
use crate::support::api::installed;
use crate::support::wait::{number, until};

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
    until("seen elsewhere", async || there.snapshot().get(id).is_some()).await;
    here.delete(&by("admin"), id).await.unwrap();
    assert!(here.snapshot().get(id).is_none());
    until("gone elsewhere", async || there.snapshot().get(id).is_none()).await;
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

/// However many registrations there are, a change of one costs little more than that one.
#[tokio::test]
async fn what_was_not_changed_is_not_read_again() {
    let db = installed().await;
    let (here, there) = (open(&db).await, open(&db).await);
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(create(&here, json!({})).await.webhook.id);
    }
    let before = there.refresh().await.unwrap();
    let admin = by("admin");
    here.set_status(&admin, ids[1], Status::Paused).await.unwrap();
    here.delete(&admin, ids[2]).await.unwrap();
    let added = create(&here, json!({})).await.webhook.id;
    let after = there.refresh().await.unwrap();
    let seen: Vec<WebhookId> = after.all().iter().map(|webhook| webhook.id).collect();
    assert_eq!(seen, [ids[0], ids[1], ids[3], added]);
    assert_eq!(after.get(ids[1]).unwrap().status, Status::Paused);
    let is_same = |id| Arc::ptr_eq(before.get(id).unwrap(), after.get(id).unwrap());
    assert_eq!([ids[0], ids[1], ids[3]].map(is_same), [true, false, true]);
    // Nor is anything taken over that is no longer there.
    for id in [ids[0], ids[1], ids[3], added] {
        here.delete(&admin, id).await.unwrap();
    }
    assert_eq!(there.refresh().await.unwrap().all().len(), 0);
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
    until("the registration is committed", async || {
        !other.refresh().await.unwrap().all().is_empty()
    })
    .await;
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
    until("it waits for the lock", async || {
        number(&watcher, blocked).await > 0
    })
    .await;
    let tx = writer.transaction().await.unwrap();
    tx.execute("INSERT INTO oc_users (uid) VALUES ('between')", &[])
        .await
        .unwrap();
    // When the registry last asked which transactions are still open, and was answered.
    let looked = async || -> Option<DateTime<Utc>> {
        let asked = "SELECT max(query_start) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle' \
                     AND query LIKE 'SELECT pg_snapshot_xmin%'";
        watcher.query_one(asked, &[]).await.unwrap().get(0)
    };
    let before = looked().await;
    holder.batch_execute("COMMIT").await.unwrap();
    // The registration is committed. Its answer still waits if the question is asked a second time.
    until("it asks", async || looked().await > before).await;
    let first = looked().await;
    until("it asks again", async || looked().await > first).await;
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
async fn a_transaction_in_another_database_of_the_server_is_not_waited_for() {
    let other = installed().await;
    let mut stranger = other.client().await;
    let open_elsewhere = stranger.transaction().await.unwrap();
    open_elsewhere
        .execute("INSERT INTO oc_users (uid) VALUES ('elsewhere')", &[])
        .await
        .unwrap();
    let db = installed().await;
    let registry = open(&db).await;
    let created = create(&registry, json!({})).await;
    assert_eq!(created.warnings, Vec::<String>::new());
    open_elsewhere.rollback().await.unwrap();
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
    // A row whose detail is not JSON hides no other.
    let spoiled = "UPDATE openregister_webhooks.audit SET detail = 'x' WHERE id = $1";
    let client = db.client().await;
    client.execute(spoiled, &[&entries[0].id]).await.unwrap();
    let again = registry.audit(Some(id), None, 10).await.unwrap();
    assert_eq!(again.len(), entries.len());
    assert_eq!(
        (&again[0].detail, &again[1].detail),
        (&json!("x"), &entries[1].detail)
    );
    let page = registry.audit(None, Some(entries[1].id), 1).await.unwrap();
    assert_eq!(page[0].action, "pause");
}

#[tokio::test]
async fn a_stored_value_that_means_nothing_is_an_error_and_no_default() {
    let db = installed().await;
    let registry = open(&db).await;
    let id = create(&registry, json!({})).await.webhook.id;
    let client = db.client().await;
    for (column, stored, whole) in [
        ("format", "'csv'", "'documented'"),
        ("ordering", "'lifo'", "'object'"),
        ("auth_method", "'basic'", "'none'"),
        ("http_method", "'BREW'", "'POST'"),
        ("burst", "-7", "NULL"),
        ("timeout_ms", "0", "NULL"),
        ("schedule", "'{5000,-1}'", "NULL"),
    ] {
        let set = |value: &str| {
            format!(
                "UPDATE openregister_webhooks.webhook SET {column} = {value} WHERE id = {}",
                id.0
            )
        };
        client.batch_execute(&set(stored)).await.unwrap();
        let snapshot = open(&db).await.snapshot();
        assert!(snapshot.get(id).is_none(), "{column}");
        let (bad, reason) = &snapshot.unreadable()[0];
        let value = stored.trim_matches(['\'', '{', '}']).rsplit(',').next().unwrap();
        assert_eq!(*bad, id);
        assert!(reason.contains(column) && reason.contains(value), "{reason}");
        client.batch_execute(&set(whole)).await.unwrap();
    }
    assert!(open(&db).await.snapshot().unreadable().is_empty());
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
