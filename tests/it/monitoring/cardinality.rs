//! The number of series stays bounded with 10,000 webhooks.

use orw_testkit::Generation;
use serde_json::json;

use crate::support::scene::Scene;
use crate::support::sidecar::get;
use crate::support::wait::until;

/// All webhooks that may be registered.
const WEBHOOKS: i64 = 10_000;
/// Webhooks with a series of their own, and the rest as one.
const NAMED: usize = 51;
/// Families with a series for each of these: queue (2), failing (2), deliveries and attempts (2 each), request time.
const PER_WEBHOOK: usize = 9;

async fn series(scene: &Scene) -> usize {
    let text = get(scene.sidecar.metrics, "/metrics").await.unwrap().body;
    text.lines().filter(|line| !line.starts_with('#')).count()
}

/// The sum of all series that begin so.
async fn sum(scene: &Scene, name: &str) -> i64 {
    let text = get(scene.sidecar.metrics, "/metrics").await.unwrap().body;
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<i64>().unwrap())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_webhooks_have_a_bounded_number_of_series() {
    let mut scene = Scene::on(crate::support::postgres::Db::openregister(Generation::V0_2_13).await)
        .fast()
        .with("ORW_METRICS_INTERVAL_SECONDS", "1")
        .running()
        .await;
    let first = scene
        .register(r"OCA\OpenRegister\Event\ViewCreatedEvent", json!({}))
        .await;
    let none = series(&scene).await;
    scene.sidecar.kill().await;

    // The others are copies of the first one. Three hundred get the event that is sent below; the rest wait with one delivery each,
    // and their receivers have failed before.
    let copies = format!(
        "INSERT INTO openregister_webhooks.webhook (revision, user_id, http_method, uri, event, classes, secrets) \
         SELECT revision, user_id, http_method, uri, \
             CASE WHEN n <= 300 THEN 'OCA\\OpenRegister\\Event\\ObjectCreatedEvent' ELSE event END, \
             CASE WHEN n <= 300 THEN ARRAY['ObjectCreatedEvent'] ELSE classes END, NULL \
         FROM openregister_webhooks.webhook, generate_series(2, {WEBHOOKS}) n WHERE id = {first}"
    );
    let waiting = "INSERT INTO openregister_webhooks.delivery (webhook, event_day, event_seq, lane, head, state, due_at, reason, deadline_at) \
         SELECT id, current_date, 1, 'object:x', true, 'retrying', now() + interval '1 day', 'live', now() + interval '3 days' \
         FROM openregister_webhooks.webhook WHERE event LIKE '%ViewCreated%'";
    let failing = "INSERT INTO openregister_webhooks.webhook_health (webhook, failures, failing_since, last_failure, revision) \
         SELECT id, 3, now() - interval '1 hour', now(), revision FROM openregister_webhooks.webhook WHERE event LIKE '%ViewCreated%'";
    for sql in [
        copies.as_str(),
        waiting,
        failing,
        "SELECT openregister_webhooks.set_kinds()",
        "UPDATE openregister_webhooks.registry SET revision = revision + 1, state = gen_random_uuid()",
    ] {
        scene
            .client
            .batch_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    scene.sidecar.start().await;
    assert!(scene.sidecar.metric("orw_webhooks{status=\"enabled\"}").await as i64 == WEBHOOKS);
    scene.objects(1, 1).await;
    scene
        .receiver
        .wait_for(299, crate::support::scene::PATIENCE)
        .await
        .unwrap();
    until("every delivery is counted", async || {
        let sent = scene
            .sidecar
            .metric("orw_deliveries_total{state=\"succeeded\",cause=\"\"}")
            .await;
        sent as i64 == 299 && scene.sidecar.metric("orw_webhooks_failing").await as i64 == WEBHOOKS - 299
    })
    .await;
    let all = series(&scene).await;
    assert!(
        all <= none + NAMED * PER_WEBHOOK,
        "{none} series without webhooks, {all} with {WEBHOOKS}"
    );
    // The sums are whole: what has no series of its own is in "other".
    assert_eq!(sum(&scene, "orw_queue_webhook_deliveries{").await, WEBHOOKS - 299);
    until("every attempt is counted", async || {
        sum(&scene, "orw_webhook_attempts_total{").await == 299
    })
    .await;
    let other = scene
        .sidecar
        .metric("orw_webhook_failures_in_a_row{webhook=\"other\"}")
        .await;
    assert!((other - 3.0).abs() < 0.1, "{other}");
}
