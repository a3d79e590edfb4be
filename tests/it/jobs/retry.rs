//! Bulk retries: what a filter shows goes back once, in order, at the webhook's rate, whatever is killed meanwhile.

use std::collections::HashMap;

use orw_testkit::Generation;
use serde_json::{Value, json};

use crate::support::receiver::Answer;
use crate::support::scene::{API, Scene};

const UPDATED: &str = r"OCA\OpenRegister\Event\ObjectUpdatedEvent";
const RUNNING: &str = "SELECT count(*) FROM openregister_webhooks.job WHERE state = 'running'";
const QUEUED: &str = "SELECT count(*) FROM openregister_webhooks.delivery";

/// Stores `count` deliveries of a webhook that failed an hour ago, each of an event of its own, in 40 lanes.
async fn failed(scene: &Scene, webhook: i64, count: i64, state: &str, cause: &str) {
    let sql = format!(
        "WITH e AS (INSERT INTO openregister_webhooks.event (day, id, class, lane, at, pid, new, old, awaiting) \
            SELECT (now() AT TIME ZONE 'UTC')::date, 'evt_{cause}_{webhook}_' || n, 'ObjectUpdatedEvent', 'object:o' || n % 40, now(), 1, \
                '{{\"uuid\": \"o\"}}', '{{}}', false FROM generate_series(1, $2::bigint) n RETURNING day, seq, id, class, lane) \
         INSERT INTO openregister_webhooks.delivery_log (day, id, webhook, event_day, event_seq, event_id, class, lane, state, reason, \
                attempt, status, cause, created_at, finished_at) \
            SELECT e.day, nextval('openregister_webhooks.delivery_id_seq'), $1, e.day, e.seq, e.id, e.class, e.lane, '{state}', 'live', 11, \
                503, '{cause}', now() - interval '1 h', now() - interval '1 h' FROM e ORDER BY e.seq"
    );
    scene.client.execute(&sql, &[&webhook, &count]).await.unwrap();
}

async fn retry(scene: &Scene, fields: Value) -> (u16, Value) {
    let reply = scene
        .sidecar
        .api("POST", &format!("{API}/deliveries/retry"), fields)
        .await;
    let body = reply.json();
    let told = if reply.status == 200 {
        &body["ocs"]["data"]
    } else {
        &body["ocs"]["meta"]["message"]
    };
    (reply.status, told.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_retry_goes_on_and_loses_nothing_and_repeats_nothing() {
    const COUNT: i64 = 1_500;
    let mut scene = Scene::new(Generation::V0_2_13).await;
    scene.sidecar.start().await;
    let webhook = scene
        .register(UPDATED, json!({"rateLimit": {"perSecond": 300, "burst": 50}}))
        .await;
    failed(&scene, webhook, COUNT, "given_up", "status").await;
    let (status, counted) = retry(
        &scene,
        json!({"webhook": webhook, "status": "5xx", "dryRun": true}),
    )
    .await;
    assert_eq!(
        (status, &counted["count"], &counted["exact"]),
        (200, &json!(COUNT), &json!(true))
    );
    let (status, started) = retry(&scene, json!({"webhook": webhook, "status": "5xx"})).await;
    assert_eq!(status, 200, "{started}");
    assert_eq!(started["jobs"][0]["expected"], json!(COUNT));

    // In the middle of it, the process is killed.
    for seen in [200, 900] {
        let done = format!("SELECT (seen >= {seen})::int::int8 FROM openregister_webhooks.job");
        scene.until(&done, 1).await;
        assert_eq!(scene.count(RUNNING).await, 1, "it is still at work");
        // No more waits than the rate allows in two seconds, and a step.
        let waiting = scene.count(QUEUED).await;
        assert!(waiting <= 600 + 250, "{waiting}");
        scene.sidecar.kill().await;
        scene.sidecar.start().await;
    }
    scene.settled().await;
    let job = "SELECT count(*) FROM openregister_webhooks.job WHERE state = 'done' AND enqueued = 1500 AND seen = 1500";
    assert_eq!(scene.count(job).await, 1);
    let once = "SELECT count(*) FROM (SELECT event_seq FROM openregister_webhooks.delivery_log WHERE reason = 'retry' \
        AND state = 'succeeded' GROUP BY event_seq HAVING count(*) = 1) o";
    assert_eq!(scene.count(once).await, COUNT, "each is put back once");
    let all = "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE reason = 'retry'";
    assert_eq!(scene.count(all).await, COUNT);
    // Each lane in its order; what was in flight when the process was killed may come twice.
    let mut last: HashMap<i64, i64> = HashMap::new();
    let lane_of = "SELECT seq, substr(lane, 9)::int8 FROM openregister_webhooks.event";
    let rows = scene.client.query(lane_of, &[]).await.unwrap();
    let lanes: HashMap<i64, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let mut ids = std::collections::HashSet::new();
    for request in scene.receiver.received() {
        assert_eq!(request.header("orw-reason"), "retry");
        let sequence: i64 = request.header("orw-sequence").parse().unwrap();
        let before = last.insert(lanes[&sequence], sequence);
        assert!(
            before.is_none_or(|before| before <= sequence),
            "{before:?} before {sequence}"
        );
        ids.insert(request.header("webhook-id").to_owned());
    }
    assert_eq!(ids.len(), 1_500);
    // Nothing is left, and nothing is put back twice.
    let (status, told) = retry(&scene, json!({"webhook": webhook, "status": "5xx"})).await;
    assert_eq!(status, 409, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_filter_shows_goes_back_and_nothing_else() {
    let mut scene = Scene::new(Generation::V0_2_13).await;
    scene.sidecar.start().await;
    let uri = |path: &str| json!({"uri": scene.receiver.url(path)});
    let (good, bad) = (
        scene.register(UPDATED, uri("/good")).await,
        scene.register(UPDATED, uri("/bad")).await,
    );
    let (off, gone) = (
        scene.register(UPDATED, uri("/off")).await,
        scene.register(UPDATED, uri("/gone")).await,
    );
    for webhook in [good, bad, off, gone] {
        failed(&scene, webhook, 3, "given_up", "timeout").await;
    }
    failed(&scene, good, 2, "given_up", "dns").await;
    failed(&scene, good, 4, "cancelled", "discarded").await;
    let path = format!("/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks/{gone}?format=json");
    assert_eq!(scene.sidecar.api("DELETE", &path, json!({})).await.status, 200);
    let path = format!("{API}/webhooks/{off}/disable");
    assert_eq!(scene.sidecar.api("POST", &path, json!({})).await.status, 200);
    scene
        .receiver
        .decide(|request| Answer::Status(if request.path == "/bad" { 500 } else { 200 }));

    // Every webhook that is registered counts; cancelled ones count if they are named.
    let count = async |fields: Value| retry(&scene, fields).await.1["count"].clone();
    assert_eq!(count(json!({"dryRun": true})).await, json!(11));
    assert_eq!(count(json!({"dryRun": true, "cause": "timeout"})).await, json!(9));
    assert_eq!(
        count(json!({"dryRun": true, "state": "given_up,cancelled"})).await,
        json!(15)
    );
    for (fields, expected) in [
        (json!({"state": "succeeded"}), (400, "state: only what is")),
        (json!({"state": "pending,given_up"}), (400, "state: only what is")),
        (json!({"status": "many"}), (400, "status: must be")),
        (json!({"webhook": 7}), (400, "webhook: 7 does not exist")),
        (json!({"webhook": off}), (409, "is disabled")),
        (json!({"cause": "tls"}), (409, "nothing to retry")),
    ] {
        let (status, told) = retry(&scene, fields.clone()).await;
        assert!(
            status == expected.0 && told.as_str().unwrap().contains(expected.1),
            "{fields}: {status} {told}"
        );
    }
    let (status, started) = retry(&scene, json!({"cause": "timeout"})).await;
    assert_eq!(status, 200, "{started}");
    let jobs = started["jobs"].as_array().unwrap();
    let of = |job: &Value| {
        (
            job["webhook"].as_i64().unwrap(),
            job["kind"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(
        jobs.iter().map(of).collect::<Vec<_>>(),
        [(good, "retry".to_owned()), (bad, "retry".to_owned())]
    );
    assert_eq!(started["skipped"][0]["webhook"], json!(off), "{started}");
    scene.until(RUNNING, 0).await;
    scene
        .receiver
        .wait_for(6, crate::support::scene::PATIENCE)
        .await
        .unwrap();
    let back = "SELECT count(*) FROM openregister_webhooks.show_deliveries d WHERE d.reason = 'retry'";
    assert_eq!(scene.count(back).await, 6);
    // What fails again is not put back by the same job: it waits for its own next attempt.
    let again = "SELECT count(*) FROM openregister_webhooks.delivery WHERE reason = 'retry' AND state = 'retrying' AND status = 500 AND cause = 'status'";
    scene.until(again, 3).await;
    let shown = scene
        .json(&[
            "delivery", "list", "--state", "retrying", "--status", "5xx", "--json",
        ])
        .await;
    assert_eq!(shown["deliveries"].as_array().unwrap().len(), 3, "{shown}");

    // The same from the command line, with the flags of the filter.
    let told = scene
        .json(&[
            "delivery",
            "retry",
            "--all",
            "--cause",
            "dns",
            "--dry-run",
            "--json",
        ])
        .await;
    assert_eq!(told["count"], 2);
    let job = scene
        .json(&["delivery", "retry", "--all", "--cause", "dns", "--yes", "--json"])
        .await;
    assert_eq!(
        (&job["state"], &job["enqueued"]),
        (&json!("done"), &json!(2)),
        "{job}"
    );
    let (code, _, error) = scene
        .sidecar
        .cli(&["delivery", "retry", "--all", "--cause", "dns", "--yes"])
        .await;
    assert!(code == 1 && error.contains("nothing to retry"), "{code} {error}");
    let (code, _, error) = scene
        .sidecar
        .cli(&["delivery", "retry", "--all", "--status", "99"])
        .await;
    assert!(code == 2 && error.contains("--status: must be"), "{code} {error}");
    // It is in the audit, with what was asked for.
    let audit = scene
        .json(&["webhook", "audit", &good.to_string(), "--json"])
        .await;
    let last = &audit[0];
    assert_eq!(
        (&last["action"], &last["detail"]["asked"]["cause"]),
        (&json!("retry"), &json!("dns")),
        "{audit}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_retry_stops_and_another_takes_the_rest() {
    let mut scene = Scene::new(Generation::V0_2_13).await;
    scene.sidecar.start().await;
    let webhook = scene
        .register(UPDATED, json!({"rateLimit": {"perSecond": 50, "burst": 50}}))
        .await;
    let path = format!("{API}/webhooks/{webhook}/pause");
    assert_eq!(scene.sidecar.api("POST", &path, json!({})).await.status, 200);
    failed(&scene, webhook, 400, "given_up", "status").await;
    let (_, started) = retry(&scene, json!({"webhook": webhook})).await;
    let job = started["jobs"][0]["id"].as_i64().unwrap();
    // It waits, because a paused webhook takes nothing out of the queue.
    let waits = "SELECT count(*) FROM openregister_webhooks.job WHERE waiting IS NOT NULL AND enqueued > 0";
    scene.until(waits, 1).await;
    let (status, told) = retry(&scene, json!({"webhook": webhook})).await;
    assert!(
        status == 409 && told.as_str().unwrap().contains("at work"),
        "{told}"
    );
    let path = format!("{API}/jobs/{job}/cancel");
    let reply = scene.sidecar.api("POST", &path, json!({})).await;
    assert_eq!(reply.json()["ocs"]["data"]["state"], "cancelled");
    let put_back = scene.count(QUEUED).await;
    assert!((100..400).contains(&put_back), "{put_back}");
    let (_, left) = retry(&scene, json!({"webhook": webhook, "dryRun": true})).await;
    assert_eq!(left["count"], json!(400 - put_back));
    let audit = scene
        .json(&["webhook", "audit", &webhook.to_string(), "--json"])
        .await;
    assert_eq!(audit[0]["action"], "cancel-retry");
    // The next one takes what is left: together each once.
    let (status, _) = retry(&scene, json!({"webhook": webhook})).await;
    assert_eq!(status, 200);
    let update = format!("/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks/{webhook}");
    let fields = json!({"httpMethod": "POST", "uri": scene.receiver.url("/hook"), "event": UPDATED, "rateLimit": {"perSecond": 5000, "burst": 5000}});
    assert_eq!(scene.sidecar.api("POST", &update, fields).await.status, 200);
    let path = format!("{API}/webhooks/{webhook}/resume");
    assert_eq!(scene.sidecar.api("POST", &path, json!({})).await.status, 200);
    scene.settled().await;
    let ids: std::collections::HashSet<String> = scene
        .receiver
        .received()
        .iter()
        .map(|request| request.header("webhook-id").to_owned())
        .collect();
    assert_eq!((ids.len(), scene.receiver.count()), (400, 400));
}
