//! The page in a real browser: Debian's Chromium, driven by playwright-core, with and without JavaScript, in both modes.
//!
//! `make test-page` runs it (`scripts/test_page.sh` finds or installs what it needs); `browser.mjs` beside this file is what a person
//! would do.

use std::path::Path;
use std::process::Stdio;

use orw_testkit::Generation;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::nextcloud::Nextcloud;
use crate::support::postgres::Db;
use crate::support::receiver::Answer;
use crate::support::scene::{PATIENCE, Scene};
use crate::support::sidecar::ADMIN;

/// Objects that are written: each gives four deliveries.
const OBJECTS: i32 = 2_500;
const HOSTILE: &str = "<img src=x onerror=alert(1)><script>alert(2)</script>\u{1b}[31mred\u{202e}olleh";

/// A sidecar with 10,000 deliveries in every state, and a webhook of every kind.
async fn busy(scene: Scene) -> (Scene, Value) {
    scene.receiver.decide(|request| match request.path.as_str() {
        "/crm" | "/lost" => Answer::Full {
            status: 503,
            headers: vec![("retry-after".to_owned(), "3600".to_owned())],
            body: format!("maintenance {HOSTILE}").into(),
        },
        _ => Answer::Status(200),
    });
    let created = r"OCA\OpenRegister\Event\ObjectCreatedEvent";
    let uri = |path: &str| scene.receiver.url(path);
    let more = |path: &str, more: Value| {
        let mut fields = json!({"uri": uri(path)});
        fields
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        fields
    };
    let good = scene
        .register(
            r"OCA\OpenRegister\Event\Object*",
            more("/n8n", json!({"format": "cloudevents"})),
        )
        .await;
    let given_up = scene
        .register(created, more("/crm", json!({"retry": {"maxAttempts": 1}})))
        .await;
    let retrying = scene
        .register(
            created,
            more(
                "/lost",
                json!({"eventFilter": {"event.object.register": "my-register"}}),
            ),
        )
        .await;
    let retrying = if retrying > 0 {
        scene.register(created, more("/lost?again=1", json!({}))).await
    } else {
        retrying
    };
    let paused = scene.register(created, more("/audit", json!({}))).await;
    scene
        .sidecar
        .cli(&["webhook", "pause", &paused.to_string()])
        .await;
    let off = scene.register(created, more("/old", json!({}))).await;
    scene
        .sidecar
        .cli(&["webhook", "disable", &off.to_string(), "--reason", HOSTILE])
        .await;
    scene.objects(1, OBJECTS).await;
    let sql = "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _created, _updated, name, age) \
        VALUES ('11111111-1111-4111-8111-111111111111', '1', '1', now(), now(), $1, 0)";
    scene.client.execute(sql, &[&HOSTILE]).await.unwrap();
    let done = "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE state = ";
    scene
        .until(&format!("{done}'succeeded'"), (OBJECTS + 1).into())
        .await;
    // The receiver that fails is spared after a while: the rest of its deliveries waits.
    let some = format!("SELECT least(({done}'given_up'), 1)");
    scene.until(&some, 1).await;
    let first = scene
        .count("SELECT max(id) FROM openregister_webhooks.delivery_log WHERE state = 'given_up'")
        .await;
    let facts = json!({"good": good, "givenUp": given_up, "retrying": retrying, "paused": paused, "off": off, "delivery": first,
        "receiver": uri("/new"), "hostile": "red"});
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
        .with("ORW_READERS", "rita:rita-password")
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
