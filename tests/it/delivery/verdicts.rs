//! The outcome of an attempt counts for the revision of the registration with which it was made, and for no other.

use std::time::{Duration, Instant};

use openregister_webhooks::delivery::Webhooks as _;
use openregister_webhooks::registry::{Status, WebhookId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::rig::{Rig, webhook};
use crate::support::receiver::{Answer, https};

const PATIENCE: Duration = Duration::from_secs(120);
const ID: WebhookId = WebhookId(1);
const FAILING: &str =
    "SELECT count(*) FROM openregister_webhooks.webhook_health WHERE webhook = 1 AND failures > 0";

/// A receiver that takes requests, and answers all of them with the same status when it is told to.
struct Held {
    url: String,
    taken: watch::Receiver<usize>,
    answer: watch::Sender<bool>,
}

impl Held {
    async fn start(status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/old", listener.local_addr().unwrap());
        let (taking, taken) = watch::channel(0);
        let (answer, answers) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (taking, mut answers) = (taking.clone(), answers.clone());
                tokio::spawn(async move {
                    let mut read = [0; 4096];
                    while matches!(stream.read(&mut read).await, Ok(1..)) {
                        // A request is small, and comes in one or two pieces: the body ends it.
                        if !read.contains(&b'{') {
                            continue;
                        }
                        read.fill(0);
                        taking.send_modify(|n| *n += 1);
                        if answers.wait_for(|now| *now).await.is_err() {
                            return;
                        }
                        let said = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                        if stream.write_all(said.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, taken, answer }
    }

    async fn holds(&mut self, count: usize) {
        let held = self.taken.wait_for(|taken| *taken >= count);
        tokio::time::timeout(PATIENCE, held).await.unwrap().unwrap();
    }
}

/// Eight requests are under way at the old address when it is changed; they all fail after that.
async fn fails_at_the_old_address(status: &'static str) {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    let mut old = Held::start(status).await;
    rig.webhooks.put(webhook(1, old.url.clone()));
    let running = rig.dispatcher(&receiver.ca_pem());
    for n in 0..8 {
        rig.send(1, &format!("o{n}"), 0..1).await;
    }
    running.wake(1);
    old.holds(8).await;
    let new = receiver.url("/new");
    rig.webhooks.change(ID, |hook| hook.target = new.parse().unwrap());
    running.wake(1);
    // New events go to the new address and succeed.
    rig.send(1, "later", 0..1).await;
    running.wake(1);
    receiver.wait_for(1, PATIENCE).await.unwrap();
    old.answer.send(true).unwrap();
    let began = Instant::now();
    let logged = "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE state = 'succeeded'";
    while rig.count(logged).await < 9 {
        let status = rig.webhooks.get(ID).unwrap().status.clone();
        assert_eq!(status, Status::Enabled, "after {status:?} at the old address");
        assert!(began.elapsed() < PATIENCE, "not delivered at the new address");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.stop().await;
    // The last report is written at the end at the latest.
    let health = "SELECT count(*) FROM openregister_webhooks.webhook_health WHERE webhook = 1 AND failures = 0 \
        AND last_success IS NOT NULL AND last_failure IS NULL";
    rig.until(health, 1).await;
    assert_eq!(receiver.count(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_410_of_the_old_address_disables_nothing() {
    fails_at_the_old_address("410 Gone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_at_the_old_address_open_no_breaker_and_are_no_health() {
    fails_at_the_old_address("500 Internal Server Error").await;
}

/// Another process has changed the registration, and this one has not read it yet: the statement compares the revisions.
#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_about_a_registration_that_another_process_changed_is_not_stored() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    receiver.always(Answer::Status(500));
    for id in [1, 2] {
        rig.webhooks.put(webhook(id, receiver.url("/")));
    }
    let newer = "UPDATE openregister_webhooks.webhook SET revision = revision + 1 WHERE id = 1";
    let client = rig.db.client().await;
    client.batch_execute(newer).await.unwrap();
    let running = rig.dispatcher(&receiver.ca_pem());
    rig.send(1, "a", 0..1).await;
    running.wake(1);
    rig.until(
        "SELECT least(count(*), 1) FROM openregister_webhooks.attempt WHERE webhook = 1",
        1,
    )
    .await;
    // Outcomes are written in the order of their reports: once this one is written, the first one has been decided.
    rig.send(2, "b", 0..1).await;
    running.wake(2);
    let other =
        "SELECT count(*) FROM openregister_webhooks.webhook_health WHERE webhook = 2 AND failures > 0";
    rig.until(other, 1).await;
    assert_eq!(rig.count(FAILING).await, 0);
    // As soon as both know the same revision, it counts.
    let same = "UPDATE openregister_webhooks.webhook SET revision = revision - 1 WHERE id = 1";
    client.batch_execute(same).await.unwrap();
    rig.until(FAILING, 1).await;
    running.stop().await;
}

/// The receiver failed for six days, then its address was changed while no sidecar ran.
#[tokio::test(flavor = "multi_thread")]
async fn days_of_failures_of_the_old_address_do_not_count_after_a_restart() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    receiver.always(Answer::Status(500));
    rig.webhooks.put(webhook(1, "https://old.example/".to_owned()));
    let failing = "INSERT INTO openregister_webhooks.webhook_health (webhook, revision, failures, failing_since, last_cause) \
        VALUES (1, 1, 30, now() - interval '6 days', 'status 500')";
    rig.db.client().await.batch_execute(failing).await.unwrap();
    rig.webhooks
        .change(ID, |hook| hook.target = receiver.url("/").parse().unwrap());
    let running = rig.dispatcher(&receiver.ca_pem());
    rig.send(1, "a", 0..1).await;
    running.wake(1);
    let anew = "SELECT count(*) FROM openregister_webhooks.webhook_health WHERE webhook = 1 AND revision = 2 \
        AND failures BETWEEN 1 AND 29 AND failing_since > now() - interval '1 hour'";
    rig.until(anew, 1).await;
    assert_eq!(rig.webhooks.get(ID).unwrap().status, Status::Enabled);
    running.stop().await;
}
