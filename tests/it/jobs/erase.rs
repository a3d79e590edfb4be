//! Erasing one object.

use orw_testkit::Generation;
use serde_json::json;

use crate::support::receiver::Answer;
use crate::support::scene::{PATIENCE, Scene, uuid};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_erased_object_is_kept_or_sent_not_even_what_was_not_committed_yet() {
    let mut scene = Scene::new(Generation::V0_2_13).await;
    scene.objects(1, 2).await;
    scene.sidecar.start().await;
    // A receiver whose error tells what it was sent.
    scene.receiver.decide(|request| Answer::Full {
        status: 500,
        headers: Vec::new(),
        body: format!("echo {}", request.json()["data"]["object"]["uuid"]).into(),
    });
    scene
        .register(
            r"OCA\OpenRegister\Event\Object*",
            json!({"retry": {"schedule": [3600]}}),
        )
        .await;
    // A transaction that ends only after the object was erased.
    let mut late = scene.db.client().await;
    let open = late.transaction().await.unwrap();
    let rename = "UPDATE oc_openregister_table_1_1 SET name = $2 WHERE _uuid = $1";
    open.execute(rename, &[&uuid(2), &"mentions secret"])
        .await
        .unwrap();
    for name in ["secret one", "secret two"] {
        scene.client.execute(rename, &[&uuid(1), &name]).await.unwrap();
    }
    // The first was tried and failed, the second waits behind it.
    scene.receiver.wait_for(1, PATIENCE).await.unwrap();
    scene
        .until(
            "SELECT count(*) FROM openregister_webhooks.attempt WHERE response LIKE '%echo%'",
            1,
        )
        .await;
    scene
        .until("SELECT count(*) FROM openregister_webhooks.delivery", 2)
        .await;
    open.execute(rename, &[&uuid(1), &"secret three"]).await.unwrap();

    let done = scene.json(&["erase", &uuid(1), "--json"]).await;
    assert_eq!(
        (&done["deliveries"], &done["events"], &done["logged"]),
        (&json!(2), &json!(2), &json!(2))
    );
    assert!(done["attempts"].as_i64() >= Some(1), "{done}");
    // The other object is changed too, so that what the transaction holds is known to be read.
    open.commit().await.unwrap();
    scene
        .until("SELECT count(*) FROM openregister_webhooks.event", 1)
        .await;
    assert_eq!(
        scene
            .count("SELECT count(*) FROM openregister_webhooks.event WHERE new LIKE '%mentions%'")
            .await,
        1
    );
    for table in [
        "event",
        "delivery",
        "delivery_log",
        "attempt",
        "quarantine",
        "job",
        "audit",
        "erased",
    ] {
        let sql = format!(
            "SELECT count(*) FROM openregister_webhooks.{table} t WHERE t::text LIKE '%{}%' OR t::text LIKE '%secret one%' \
             OR t::text LIKE '%secret two%' OR t::text LIKE '%secret three%'",
            uuid(1)
        );
        assert_eq!(scene.count(&sql).await, 0, "{table}");
    }
    // What the transaction wrote to the outbox goes when that is emptied, or now.
    let outbox = format!(
        "SELECT count(*) FROM openregister_webhooks.change WHERE position('{}' IN coalesce(old, '') || coalesce(new, '')) > 0",
        uuid(1)
    );
    let before = scene.count(&outbox).await;
    let (_, again, _) = scene.sidecar.cli(&["erase", &uuid(1), "--json"]).await;
    let again: serde_json::Value = serde_json::from_str(&again).unwrap();
    assert!(again["changes"].as_i64().unwrap() <= before);
    assert_eq!((&again["events"], scene.count(&outbox).await), (&json!(0), 0));
    assert_eq!(scene.count("SELECT count(*) FROM openregister_webhooks.audit WHERE action = 'erase' AND detail LIKE '%sha256:%'").await, 2);
    assert_eq!(scene.count("SELECT count(*) FROM openregister_webhooks.delivery_log WHERE lane = 'erased' AND state = 'cancelled'").await, 2);

    // What happens to it now is new.
    scene.receiver.forget();
    scene.receiver.always(Answer::Status(200));
    scene.client.execute(rename, &[&uuid(1), &"new"]).await.unwrap();
    let sent = |all: &[orw_testkit::receiver::Received]| {
        all.iter()
            .any(|r| r.json()["data"]["newObject"]["data"]["name"] == "new")
    };
    let got = scene.receiver.wait_until(sent, PATIENCE).await.unwrap();
    let of_it = got
        .iter()
        .filter(|r| r.json()["data"]["object"]["uuid"] == uuid(1))
        .count();
    assert_eq!(of_it, 1);
    for wrong in [&["erase", "nope"][..], &["erase", "no such", "--any-form"]] {
        let (code, out, err) = scene.sidecar.cli(wrong).await;
        assert!(
            code == 2 && out.is_empty() && err.contains("is no uuid") | err.contains("is no UUID"),
            "{wrong:?}: {err}"
        );
    }
    let (code, out, err) = scene.sidecar.cli(&["erase", &uuid(77)]).await;
    assert!(
        code == 1 && out.is_empty() && err.contains("nothing is stored"),
        "{code} {out} {err}"
    );
}
