//! The outcomes of a delivery, from its row in the queue to the log.

use std::time::{Duration, Instant};

use openregister_webhooks::delivery::NewDelivery;
use openregister_webhooks::registry::{RetryPolicy, Status, WebhookId};

use super::rig::{Rig, SECRET, delivery, webhook};
use crate::support::receiver::{Answer, https};
use crate::support::wait::PATIENCE;

const LOGGED: &str = "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE state = 'succeeded'";
const LEFT: &str = "SELECT count(*) FROM openregister_webhooks.delivery";

#[tokio::test(flavor = "multi_thread")]
async fn an_event_arrives_signed_and_is_logged() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    rig.webhooks.put(webhook(1, receiver.url("/hook?x=1")));
    let running = rig.dispatcher(&receiver.ca_pem());
    rig.send(1, "a", 0..1).await;
    running.wake(1);
    let got = receiver.wait_for(1, PATIENCE).await.unwrap();
    let first = &got[0];
    assert_eq!(
        (first.method.as_str(), first.path.as_str()),
        ("POST", "/hook?x=1")
    );
    assert_eq!(first.header("webhook-id"), "evt_a_0");
    assert_eq!(first.header("orw-attempt"), "1");
    assert_eq!(first.header("orw-reason"), "live");
    assert!(first.header("user-agent").starts_with("openregister-webhooks/"));
    assert_eq!(
        first.json()["event"],
        r"OCA\OpenRegister\Event\ObjectCreatedEvent"
    );
    standardwebhooks::Webhook::new(SECRET)
        .unwrap()
        .verify(&first.body, &first.headers)
        .unwrap();
    rig.until(LOGGED, 1).await;
    rig.until(LEFT, 0).await;
    let attempts = "SELECT count(*) FROM openregister_webhooks.attempt WHERE status = 200 AND number = 1 AND cause IS NULL";
    rig.until(attempts, 1).await;
    running.stop().await;
    rig.until("SELECT count(*) FROM openregister_webhooks.worker", 0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_head_holds_back_its_own_lane_alone() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    rig.webhooks.put(webhook(1, receiver.url("/")));
    receiver.decide(|r| match (r.header("webhook-id"), r.header("orw-attempt")) {
        ("evt_bad_0", "1" | "2" | "3") => Answer::Status(500),
        _ => Answer::Status(200),
    });
    rig.send(1, "bad", 0..5).await;
    rig.send(1, "good", 0..5).await;
    let running = rig.dispatcher(&receiver.ca_pem());
    rig.until(LOGGED, 10).await;
    let got = receiver.received();
    let of = |object: &str| -> Vec<String> {
        let prefix = format!("evt_{object}_");
        let ids = got.iter().map(|r| r.header("webhook-id").to_owned());
        ids.filter(|id| id.starts_with(&prefix)).collect()
    };
    assert_eq!(
        of("bad"),
        [
            "evt_bad_0",
            "evt_bad_0",
            "evt_bad_0",
            "evt_bad_0",
            "evt_bad_1",
            "evt_bad_2",
            "evt_bad_3",
            "evt_bad_4"
        ]
    );
    assert_eq!(
        of("good"),
        [
            "evt_good_0",
            "evt_good_1",
            "evt_good_2",
            "evt_good_3",
            "evt_good_4"
        ]
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_delivered_is_given_up_and_its_successor_goes_on() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    let mut hook = webhook(1, receiver.url("/"));
    hook.retry = RetryPolicy {
        max_attempts: 3,
        schedule: vec![Duration::from_millis(10)],
    };
    rig.webhooks.put(hook);
    receiver.decide(|r| match r.header("webhook-id") {
        "evt_a_0" => Answer::Full {
            status: 422,
            headers: vec![],
            body: "no such thing\0".into(),
        },
        _ => Answer::Status(204),
    });
    rig.send(1, "a", 0..2).await;
    let running = rig.dispatcher(&receiver.ca_pem());
    rig.until(LOGGED, 1).await;
    let given_up = "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE state = 'given_up' AND attempt = 3 \
        AND status = 422 AND cause = 'status' AND event_id = 'evt_a_0'";
    rig.until(given_up, 1).await;
    let responses = "SELECT count(*) FROM openregister_webhooks.attempt WHERE response LIKE 'no such thing_'";
    rig.until(responses, 3).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gone_disables_and_enabling_resumes_in_order() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    rig.webhooks.put(webhook(1, receiver.url("/")));
    receiver.next([Answer::Status(410)]);
    rig.send(1, "a", 0..3).await;
    let running = rig.dispatcher(&receiver.ca_pem());
    receiver.wait_for(1, PATIENCE).await.unwrap();
    rig.until(
        "SELECT count(*) FROM openregister_webhooks.delivery WHERE state = 'retrying'",
        1,
    )
    .await;
    let id = WebhookId(1);
    let status = || {
        let webhook = openregister_webhooks::delivery::Webhooks::get(&*rig.webhooks, id);
        webhook.unwrap().status.clone()
    };
    let began = Instant::now();
    while status() == Status::Enabled {
        assert!(began.elapsed() < PATIENCE, "still enabled");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let status = status();
    assert!(
        matches!(&status, Status::Disabled { reason, .. } if reason.contains("410")),
        "{status:?}"
    );
    let health = "SELECT count(*) FROM openregister_webhooks.webhook_health WHERE failures = 1 AND last_cause = 'status 410'";
    assert_eq!(rig.count(health).await, 1);
    rig.send(1, "b", 0..1).await;
    running.wake(1);
    // Nothing is sent: another webhook's event arrives, which shows that the queue was read, and the row stays.
    rig.webhooks.put(webhook(2, receiver.url("/other")));
    rig.send(2, "c", 0..1).await;
    running.wake(2);
    receiver.wait_for(2, PATIENCE).await.unwrap();
    rig.until(LEFT, 4).await;
    rig.webhooks.change(id, |w| w.status = Status::Enabled);
    running.wake(1);
    rig.until(LOGGED, 5).await;
    let ids: Vec<_> = receiver
        .received()
        .iter()
        .map(|r| r.header("webhook-id").to_owned())
        .collect();
    let a: Vec<_> = ids.iter().filter(|id| id.starts_with("evt_a")).collect();
    assert_eq!(a, ["evt_a_0", "evt_a_0", "evt_a_1", "evt_a_2"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_the_user_stalls_its_lane_alone_and_is_woken() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    rig.webhooks.put(webhook(1, receiver.url("/")));
    rig.webhooks.put(webhook(2, receiver.url("/unwanted")));
    rig.webhooks.unwant(WebhookId(2));
    let running = rig.dispatcher(&receiver.ca_pem());
    let a = rig.event("a", 0).await;
    let b = rig.event("b", 0).await;
    let waiting = |webhook, event| NewDelivery {
        await_user: Some(Duration::from_secs(3600)),
        ..delivery(webhook, "a", event)
    };
    rig.enqueue(&[waiting(1, a), delivery(1, "b", b), waiting(2, a)])
        .await;
    running.wake(1);
    let got = receiver.wait_for(1, PATIENCE).await.unwrap();
    assert_eq!(got[0].header("webhook-id"), "evt_b_0");
    rig.until(
        "SELECT count(*) FROM openregister_webhooks.delivery WHERE state = 'awaiting_user'",
        2,
    )
    .await;
    let woken = openregister_webhooks::delivery::queue::resolve_user(&**rig.pool.get().await.unwrap(), &[a])
        .await
        .unwrap();
    assert_eq!(woken.len(), 2);
    running.wake.wake(woken);
    rig.until(LEFT, 0).await;
    let got = receiver.received();
    assert_eq!(got.len(), 2, "the unwanted one was dropped: {got:?}");
    assert_eq!(got[1].header("webhook-id"), "evt_a_0");
    running.stop().await;
}
