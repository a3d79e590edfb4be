//! Changes that go into quarantine are gaps that consumers are told of, and the quarantine has a bound.

use super::*;
use crate::support::wait::until_number;

const POISON: &str = "oc_openregister_table_9_9";

/// A table whose rows may have a uuid that no index takes: the pipeline cannot store their events.
async fn poisonous(scene: &Scene) {
    scene
        .client
        .batch_execute(&format!(
            "CREATE TABLE {POISON} (_id bigserial PRIMARY KEY, _uuid text, what text)"
        ))
        .await
        .unwrap();
    let attached =
        format!("SELECT count(*) FROM openregister_webhooks.captured_table WHERE tbl = '{POISON}'");
    scene.until(&attached, 1).await;
}

async fn poison(scene: &Scene, what: &str) {
    let sql = format!(
        "INSERT INTO {POISON} (_uuid, what) SELECT string_agg(md5(random()::text || i), ''), '{what}' FROM generate_series(1, 500) i"
    );
    scene.client.batch_execute(&sql).await.unwrap();
}

/// The notices of the poisonous table that arrived.
fn heard(scene: &Scene) -> Vec<Value> {
    told(&scene.receiver.received(), "/hook", Format::Documented)
        .remove(POISON)
        .unwrap_or_default()
        .iter()
        .map(|request| request.json()["data"]["gap"].clone())
        .collect()
}

const KEPT: &str = "SELECT count(*) FROM openregister_webhooks.quarantine";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_hear_of_what_went_into_quarantine_once_a_minute_at_most() {
    let scene = Scene::new().await;
    scene.register("/hook", OBJECTS, json!({"gapEvents": true})).await;
    poisonous(&scene).await;
    poison(&scene, "first").await;
    scene.until(KEPT, 1).await;
    let one_told =
        "SELECT count(*) FROM openregister_webhooks.gap WHERE cause = 'quarantine' AND told_at IS NOT NULL";
    scene.until(one_told, 1).await;
    scene.delivered().await;
    let first = heard(&scene);
    assert_eq!(first.len(), 1, "{first:?}");
    assert!(
        first[0]["reason"].as_str().unwrap().contains("quarantine"),
        "{first:?}"
    );
    assert!(
        first[0]["since"].is_string() && first[0]["until"].is_string(),
        "{first:?}"
    );
    assert_eq!(
        first[0]["remedy"],
        format!("openregister-webhooks backfill --table {POISON}")
    );

    // A flood is one gap, told when the minute is over.
    for n in 0..3 {
        poison(&scene, &format!("more {n}")).await;
    }
    scene.until(KEPT, 4).await;
    let open = "SELECT coalesce(sum(changes), 0)::bigint FROM openregister_webhooks.gap WHERE cause = 'quarantine' AND told_at IS NULL";
    scene.until(open, 3).await;
    assert_eq!(
        scene
            .count("SELECT count(*) FROM openregister_webhooks.gap WHERE cause = 'quarantine'")
            .await,
        2
    );
    scene
        .client
        .batch_execute("UPDATE openregister_webhooks.gap SET told_at = told_at - interval '2 minutes'")
        .await
        .unwrap();
    scene.until(one_told, 2).await;
    scene.delivered().await;
    let second = heard(&scene);
    assert_eq!(second.len(), 2, "{second:?}");
    assert!(
        second[1]["reason"].as_str().unwrap().starts_with("3 changes"),
        "{second:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quarantine_takes_no_more_than_its_bound_and_says_so() {
    for (fill, rows) in [
        // By number, and by bytes.
        (
            "SELECT '0/0', '0', n, 'oc_openregister_objects', 'I', false, NULL, '{}', 1, now(), 'full' FROM generate_series(1, 10000) n",
            10_000,
        ),
        (
            "SELECT '0/0', '0', n, 'oc_openregister_objects', 'I', false, NULL, repeat('x', 67108864 - 100), 1, now(), 'full' FROM generate_series(1, 4) n",
            4,
        ),
    ] {
        let mut scene = Scene::new().await;
        scene.register("/hook", OBJECTS, json!({"gapEvents": true})).await;
        poisonous(&scene).await;
        scene
            .client
            .batch_execute(&format!(
                "INSERT INTO openregister_webhooks.quarantine (lsn, xid, ordinal, tbl, op, found, old, new, pid, at, reason) {}",
                fill.replace("'0/0'", "'0/0'::pg_lsn").replace("'0',", "'0'::xid8,")
            ))
            .await
            .unwrap();
        poison(&scene, "no room").await;
        let gone = "SELECT coalesce(sum(discarded), 0)::bigint FROM openregister_webhooks.gap WHERE cause = 'quarantine'";
        until_number(&scene.client, gone, 1, PATIENCE).await;
        assert_eq!(scene.count(KEPT).await, rows);
        assert_eq!(scene.sidecar.metric("orw_quarantine_discarded_total").await, 1.0);
        assert_eq!(scene.sidecar.metric("orw_quarantined_total").await, 1.0);
        scene
            .until(
                "SELECT count(*) FROM openregister_webhooks.gap WHERE told_at IS NULL",
                0,
            )
            .await;
        scene.delivered().await;
        let heard = heard(&scene);
        assert!(
            heard[0]["reason"].as_str().unwrap().contains("not kept"),
            "{heard:?}"
        );
        scene.sidecar.terminate().await;
    }
}
