//! The page in a real browser: Debian's Chromium, driven by playwright-core, with and without JavaScript, in both modes.
//!
//! `make test-page` runs it (`scripts/test_page.sh` finds or installs what it needs); `browser.mjs` beside this file is what a person
//! would do.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use orw_testkit::Generation;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::nextcloud::Nextcloud;
use crate::support::postgres::Db;
use crate::support::receiver::Answer;
use crate::support::scene::{PATIENCE, READER, Scene, uuid};
use crate::support::sidecar::ADMIN;

/// Objects that are written: each gives six deliveries.
const OBJECTS: i32 = 2_000;
/// What strangers write: markup, an escape sequence of a terminal, a mark that turns the direction.
const HOSTILE: &str = "<img src=x onerror=alert(1)><script>alert(2)</script>\u{1b}[31mred\u{202e}olleh";

/// A receiver for each kind of fate. Failures of `/crm` and `/flaky` lie between successes, so that no breaker holds the others back.
fn decide(scene: &Scene) {
    let asked = AtomicUsize::new(0);
    let answer = |status: u16| Answer::Full {
        status,
        headers: Vec::new(),
        body: format!("maintenance {HOSTILE}").into(),
    };
    scene.receiver.decide(move |request| {
        let path = request.path.split('?').next().unwrap_or_default();
        let unlucky = || asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(3);
        match path {
            "/crm" if unlucky() => answer(400),
            "/flaky" if unlucky() => answer(503),
            "/down" => answer(503),
            "/gone" => answer(410),
            "/slow" => Answer::Hang,
            _ => Answer::Status(200),
        }
    });
}

/// The webhooks, by their fates.
struct Webhooks {
    good: i64,
    given_up: i64,
    down: i64,
    paused: i64,
    off: i64,
}

async fn register(scene: &Scene) -> Webhooks {
    let created = r"OCA\OpenRegister\Event\ObjectCreatedEvent";
    let uri = |path: &str| scene.receiver.url(path);
    let webhooks = Webhooks {
        good: scene
            .register(
                r"OCA\OpenRegister\Event\Object*",
                json!({"uri": uri("/n8n"), "format": "cloudevents"}),
            )
            .await,
        given_up: scene
            .register(created, json!({"uri": uri("/crm"), "retry": {"maxAttempts": 1}}))
            .await,
        down: scene.register(created, json!({"uri": uri("/down")})).await,
        // With a rate of one in a second, its jobs wait from 100 deliveries on.
        paused: scene
            .register(
                created,
                json!({"uri": uri("/audit"), "rateLimit": {"perSecond": 1}}),
            )
            .await,
        off: scene.register(created, json!({"uri": uri("/old")})).await,
    };
    // One is on its way for as long as the test takes.
    let slow = json!({"uri": uri("/slow"), "timeoutSeconds": 300, "maxInFlight": 1});
    scene.register(created, slow).await;
    for path in ["/flaky", "/gone"] {
        scene.register(created, json!({"uri": uri(path)})).await;
    }
    let paused = webhooks.paused.to_string();
    let off = webhooks.off.to_string();
    for arguments in [
        &["webhook", "pause", &paused][..],
        &["webhook", "disable", &off, "--reason", HOSTILE],
    ] {
        let (code, _, errors) = scene.sidecar.cli(arguments).await;
        assert_eq!(code, 0, "{errors}");
    }
    webhooks
}

/// A sidecar with more than 10,000 deliveries in every state, and a webhook of every kind.
async fn busy(scene: Scene) -> (Scene, Value) {
    decide(&scene);
    let webhooks = register(&scene).await;
    scene.objects(1, OBJECTS).await;
    let sql = "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _created, _updated, name, age) \
        VALUES ('11111111-1111-4111-8111-111111111111', '1', '1', now(), now(), $1, 0)";
    scene.client.execute(sql, &[&HOSTILE]).await.unwrap();
    let objects = i64::from(OBJECTS) + 1;
    let log = "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE";
    let queue = "SELECT count(*) FROM openregister_webhooks.delivery WHERE";
    for webhook in [webhooks.good, webhooks.given_up] {
        scene.until(&format!("{log} webhook = {webhook}"), objects).await;
    }
    for state in ["retrying", "leased"] {
        scene
            .until(&format!("SELECT least(({queue} state = '{state}'), 1)"), 1)
            .await;
    }
    // What waits for the paused webhook is cancelled with its object. The first is on its way to the slow receiver.
    for number in 2..=4 {
        scene.json(&["erase", &uuid(number), "--json"]).await;
    }
    // Nobody waits for a user for longer than half a second: some of what the paused webhook has is put into that state.
    let awaiting = "UPDATE openregister_webhooks.delivery SET state = 'awaiting_user', awaiting = true, due_at = now() + interval '1 hour' \
        WHERE id IN (SELECT id FROM openregister_webhooks.delivery WHERE webhook = $1 ORDER BY id DESC LIMIT 3)";
    scene.client.execute(awaiting, &[&webhooks.paused]).await.unwrap();
    let mut total = 0;
    for (table, state) in [
        (log, "succeeded"),
        (log, "given_up"),
        (log, "cancelled"),
        (queue, "pending"),
        (queue, "retrying"),
        (queue, "leased"),
        (queue, "awaiting_user"),
    ] {
        let count = scene.count(&format!("{table} state = '{state}'")).await;
        println!("{state}: {count} deliveries");
        assert!(count > 0, "no delivery is {state}");
        total += count;
    }
    assert!(total >= 10_000, "{total} deliveries");
    let last = |what: &str| format!("SELECT max(id) FROM openregister_webhooks.delivery_log WHERE {what}");
    let given_up = scene.count(&last("state = 'given_up'")).await;
    let hostile = scene
        .count(&last("lane LIKE '%11111111-1111-4111-8111-111111111111'"))
        .await;
    let event: String = scene
        .client
        .query_one(
            "SELECT event_id FROM openregister_webhooks.delivery_log WHERE id = $1",
            &[&given_up],
        )
        .await
        .unwrap()
        .get(0);
    let facts = json!({"paused": webhooks.paused, "event": event, "good": webhooks.good, "givenUp": webhooks.given_up, "down": webhooks.down, "off": webhooks.off,
        "delivery": given_up, "hostile": hostile, "object": uuid(7), "receiver": scene.receiver.url("/new")});
    (scene, facts)
}

/// Runs the script against a sidecar.
async fn drive(mode: &str, scene: &Scene, facts: &Value) {
    let modules = std::env::var("ORW_PAGE_MODULES").expect("scripts/test_page.sh sets it");
    let pictures =
        std::env::var("ORW_PAGE_PICTURES").unwrap_or_else(|_| scene.path("pictures").display().to_string());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/page/browser.mjs");
    let mut child = Command::new("node")
        .arg(script)
        .env("ORW_PAGE_MODULES", modules)
        .env("ORW_PAGE_PICTURES", pictures)
        .env("ORW_PAGE_URL", format!("http://{}", scene.sidecar.listen))
        .env("ORW_PAGE_MODE", mode)
        .env("ORW_PAGE_USER", ADMIN.0)
        .env("ORW_PAGE_PASSWORD", ADMIN.1)
        .env("ORW_PAGE_COOKIE", Nextcloud::SESSION.0)
        .env("ORW_PAGE_FACTS", facts.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let ended = tokio::time::timeout(PATIENCE * 2, child.wait())
        .await
        .unwrap()
        .unwrap();
    assert!(ended.success(), "the browser found faults: see above");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-page runs it"]
async fn a_browser_does_every_action_of_a_sidecar_alone() {
    let scene = Scene::on(Db::openregister(Generation::V0_2_13).await)
        .fast()
        .with("ORW_READERS", &format!("{}:{}", READER.0, READER.1))
        .running()
        .await;
    let (scene, facts) = busy(scene).await;
    drive("alone", &scene, &facts).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-page runs it"]
async fn a_browser_does_every_action_before_nextcloud() {
    let nextcloud = Nextcloud::start().await;
    let scene = Scene::on(Db::openregister(Generation::V0_2_13).await)
        .fast()
        .with("ORW_NEXTCLOUD_URL", &nextcloud.url())
        .running()
        .await;
    let (scene, facts) = busy(scene).await;
    drive("nextcloud", &scene, &facts).await;
}
