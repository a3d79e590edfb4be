//! What a replay sends; newer events do not overtake it.

use std::time::Duration;

use orw_testkit::Generation;
use orw_testkit::receiver::Received;
use serde_json::json;

use crate::support::receiver::Answer;
use crate::support::scene::{API, PATIENCE, Scene, uuid};

const UPDATED: &str = r"OCA\OpenRegister\Event\ObjectUpdatedEvent";

async fn grow(scene: &Scene, object: i32, times: usize) {
    let sql = "UPDATE oc_openregister_table_1_1 SET age = age + 1 WHERE _uuid = $1";
    for _ in 0..times {
        scene.client.execute(sql, &[&uuid(object)]).await.unwrap();
    }
}

fn ages(received: &[Received], object: i32) -> Vec<i64> {
    received
        .iter()
        .map(Received::json)
        .filter(|body| body["data"]["object"]["uuid"] == uuid(object))
        .map(|body| body["data"]["object"]["data"]["age"].as_i64().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_repeats_the_stream_and_new_events_follow_behind_it() {
    let mut scene = Scene::new(Generation::V0_2_13).await;
    scene.objects(1, 2).await;
    scene.sidecar.start().await;
    let webhook = scene.register(UPDATED, json!({})).await;
    grow(&scene, 1, 3).await;
    grow(&scene, 2, 2).await;
    let first = scene.receiver.wait_for(5, PATIENCE).await.unwrap();
    scene.settled().await;

    // Paused, the replay is read to its end only when it runs again: new events of the object come meanwhile.
    scene.receiver.forget();
    scene.receiver.always(Answer::After(
        Duration::from_millis(100),
        Box::new(Answer::Status(200)),
    ));
    let replay = scene.sidecar.replay(webhook).await;
    grow(&scene, 1, 2).await;
    let got = scene.receiver.wait_for(7, PATIENCE).await.unwrap();
    scene.settled().await;
    assert_eq!(ages(&got, 1), [1, 2, 3, 4, 5]);
    assert_eq!(ages(&got, 2), [1, 2]);
    let of = |all: &[Received], reason: &str| -> Vec<String> {
        let mut ids: Vec<String> = all
            .iter()
            .filter(|r| r.header("orw-reason") == reason)
            .map(|r| r.header("webhook-id").to_owned())
            .collect();
        ids.sort();
        ids
    };
    assert_eq!(of(&got, "replay"), of(&first, "live"), "the same ids again");
    assert_eq!(of(&got, "live").len(), 2);
    let job = scene
        .json(&["job", "show", &replay["id"].to_string(), "--json"])
        .await;
    assert_eq!(job["state"], "done");
    assert!(
        job["note"]
            .as_str()
            .unwrap()
            .contains("oldest event that is kept"),
        "{job}"
    );

    // The stream goes on.
    scene.receiver.forget();
    grow(&scene, 2, 1).await;
    let got = scene.receiver.wait_for(1, PATIENCE).await.unwrap();
    assert_eq!((ages(&got, 2), got[0].header("orw-reason")), (vec![3], "live"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_takes_the_filter_as_it_is_now_and_less_where_less_is_asked_for() {
    let mut scene = Scene::new(Generation::V0_2_13).await;
    scene.objects(1, 2).await;
    scene.sidecar.start().await;
    let webhook = scene.register(r"OCA\OpenRegister\Event\Object*", json!({})).await;
    grow(&scene, 1, 3).await;
    grow(&scene, 2, 1).await;
    scene.receiver.wait_for(4, PATIENCE).await.unwrap();
    scene.receiver.forget();
    let path = format!("{API}/webhooks/{webhook}/replay");
    let reply = scene
        .sidecar
        .api(
            "POST",
            &path,
            json!({"since": "2020-01-01T00:00:00Z", "object": uuid(2), "class": UPDATED}),
        )
        .await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let job = reply.json()["ocs"]["data"]["id"].as_i64().unwrap();
    scene.settled().await;
    assert_eq!(ages(&scene.receiver.received(), 2), [1]);
    assert_eq!(scene.receiver.count(), 1);
    let shown = scene
        .sidecar
        .api("GET", &format!("{API}/jobs/{job}"), json!({}))
        .await
        .json();
    assert_eq!(shown["ocs"]["data"]["enqueued"], 1);
    assert_eq!(shown["ocs"]["data"]["ask"]["object"], uuid(2));

    scene.receiver.forget();
    let update = format!("/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks/{webhook}");
    let fields = json!({"httpMethod": "POST", "uri": scene.receiver.url("/new"), "event": UPDATED,
        "eventFilter": {"event.newObject.data.age": {"$gte": 2}}});
    assert_eq!(scene.sidecar.api("POST", &update, fields).await.status, 200);
    let reply = scene.sidecar.api("POST", &path, json!({"since": "2h"})).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    scene.settled().await;
    assert_eq!(ages(&scene.receiver.received(), 1), [2, 3]);
    assert_eq!(scene.receiver.count(), 2);
    for wrong in [
        json!({}),
        json!({"since": "soon"}),
        json!({"since": "2999-01-01"}),
        json!({"since": "1h", "class": "X"}),
    ] {
        assert_eq!(
            scene.sidecar.api("POST", &path, wrong.clone()).await.status,
            400,
            "{wrong}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_replay_hands_over_what_it_held_back() {
    let mut scene = Scene::new(Generation::V0_2_13).await;
    scene.objects(1, 1).await;
    scene.sidecar.start().await;
    let webhook = scene.register(UPDATED, json!({})).await;
    // More than may be pending, so that the replay waits.
    let stored = "INSERT INTO openregister_webhooks.event (day, id, class, lane, at, pid, new, old, awaiting) \
        SELECT (now() AT TIME ZONE 'UTC')::date, 'evt_' || n, 'ObjectUpdatedEvent', 'object:x' || n, now(), 1, \
        '{\"uuid\": \"x\"}', '{}', false FROM generate_series(1, 7000) n";
    scene.client.batch_execute(stored).await.unwrap();
    let act = async |action: &str| {
        let path = format!("{API}/webhooks/{webhook}/{action}");
        assert_eq!(scene.sidecar.api("POST", &path, json!({})).await.status, 200);
    };
    act("pause").await;
    let job = scene.sidecar.replay(webhook).await;
    scene
        .until(
            "SELECT count(*) FROM openregister_webhooks.job WHERE waiting IS NOT NULL",
            1,
        )
        .await;
    grow(&scene, 1, 2).await;
    scene
        .until(
            "SELECT count(*) FROM openregister_webhooks.event WHERE pid <> 1",
            2,
        )
        .await;
    let lane = format!(
        "SELECT count(*) FROM openregister_webhooks.delivery WHERE lane = 'object:{}'",
        uuid(1)
    );
    assert_eq!(scene.count(&lane).await, 0, "the new events are held back");
    let cancelled = scene
        .json(&["job", "cancel", &job["id"].to_string(), "--json"])
        .await;
    assert_eq!(cancelled["state"], "cancelling");
    act("resume").await;
    scene.settled().await;
    let job = scene
        .json(&["job", "show", &job["id"].to_string(), "--json"])
        .await;
    assert_eq!(job["state"], "cancelled");
    let got = scene.receiver.received();
    assert_eq!(ages(&got, 1), [1, 2]);
    assert!(got.len() < 7000, "the rest was not replayed: {}", got.len());
}
