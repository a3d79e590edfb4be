//! Gaps that are found while replays run, by one process or two.

use std::collections::BTreeSet;

use serde_json::json;

use super::scene::{PATIENCE, Scene};
use super::{API, OBJECTS};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_poll_tell_each_gap_once_also_while_replays_run() {
    const GAPS: usize = 40;
    let mut scene = Scene::new().await;
    let webhook = scene.register("/hook", OBJECTS, json!({"gapEvents": true})).await;
    // As behind a transaction pooler: who leads is decided with each transaction.
    scene.sidecar.kill().await;
    let mut polling = [scene.another(), scene.another()];
    for sidecar in &mut polling {
        sidecar.start().await;
    }
    let id = webhook.to_string();
    for n in 0..GAPS {
        let table = ["oc_openregister_objects", "oc_openregister_table_1_1"][n % 2];
        let insert = format!(
            "INSERT INTO openregister_webhooks.gap (tbl, reason, remedy) VALUES ('{table}', '{n}', 'none')"
        );
        scene.client.batch_execute(&insert).await.unwrap();
        if n % 5 == 4 {
            // Another session may still be at work.
            let replay = ["replay", "--webhook", &id, "--since", "1h", "--background"];
            scene.sidecar.cli(&replay).await;
        }
    }
    scene
        .until(
            "SELECT count(*) FROM openregister_webhooks.gap WHERE told_at IS NULL",
            0,
        )
        .await;
    let jobs = "SELECT count(*) FROM openregister_webhooks.job WHERE state <> 'done'";
    scene.until(jobs, 0).await;
    // At least one of them finds no session at work, however fast this machine is.
    scene.sidecar.replay(webhook).await;
    scene.until(jobs, 0).await;
    scene.delivered().await;
    let all = scene.receiver.received();
    let live = all
        .iter()
        .filter(|request| request.header("orw-reason") == "live");
    let mut reasons: Vec<usize> = live
        .map(|request| {
            request.json()["data"]["gap"]["reason"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    reasons.sort_unstable();
    assert_eq!(reasons, (0..GAPS).collect::<Vec<_>>());
    assert!(
        scene
            .count("SELECT count(*) FROM openregister_webhooks.job")
            .await
            > 1
    );
    let ids: BTreeSet<&str> = all.iter().map(|request| request.header("webhook-id")).collect();
    assert_eq!(ids.len(), GAPS, "replays repeat the same ids");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_that_is_found_while_a_replay_is_under_way_comes_with_it_once() {
    let scene = Scene::new().await;
    let webhook = scene.register("/hook", OBJECTS, json!({"gapEvents": true})).await;
    let set = async |state: &str| {
        let route = format!("{API}/webhooks/{webhook}/{state}");
        assert_eq!(scene.sidecar.api("POST", &route, json!({})).await.status, 200);
    };
    set("pause").await;
    // As much waits already as a replay waits for.
    let full = "INSERT INTO openregister_webhooks.delivery (webhook, event_day, event_seq, lane, head, state, due_at, reason, deadline_at) \
                SELECT $1, current_date, -1, 'object:full', false, 'pending', now(), 'live', now() + interval '1 day' FROM generate_series(1, 5000)";
    scene.client.execute(full, &[&webhook]).await.unwrap();
    scene.sidecar.replay(webhook).await;
    let waits =
        "SELECT count(*) FROM openregister_webhooks.job WHERE state = 'running' AND waiting IS NOT NULL";
    scene.until(waits, 1).await;
    let insert = "INSERT INTO openregister_webhooks.gap (tbl, reason, remedy) VALUES ('oc_openregister_objects', 'because', 'none')";
    scene.client.batch_execute(insert).await.unwrap();
    scene
        .until(
            "SELECT count(*) FROM openregister_webhooks.gap WHERE told_at IS NOT NULL",
            1,
        )
        .await;
    let queued = "SELECT count(*) FROM openregister_webhooks.delivery WHERE lane LIKE 'gap:%'";
    assert_eq!(scene.count(queued).await, 0, "the replay comes to it");
    scene
        .client
        .batch_execute("DELETE FROM openregister_webhooks.delivery WHERE lane = 'object:full'")
        .await
        .unwrap();
    scene.until(queued, 1).await;
    set("resume").await;
    let got = scene.receiver.wait_for(1, PATIENCE).await.unwrap();
    scene.delivered().await;
    assert_eq!(scene.receiver.count(), 1);
    assert_eq!(got[0].header("orw-reason"), "live");
    assert_eq!(got[0].json()["data"]["gap"]["reason"], "because");
}
