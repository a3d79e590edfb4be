//! Who gets in, in both modes, and in which language.

use orw_testkit::Generation;
use serde_json::json;

use super::visitor::{PAGE, Visitor};
use crate::support::nextcloud::Nextcloud;
use crate::support::postgres::Db;
use crate::support::scene::{READER, Scene};
use crate::support::sidecar::ADMIN;

#[tokio::test(flavor = "multi_thread")]
async fn stand_alone_one_logs_in_and_out_and_a_reader_only_looks() {
    let (scene, id) = Scene::with_a_reader().await;
    let mut visitor = Visitor::new(scene.sidecar.listen);
    // Every view leads to the login, and nothing of the installation is told.
    for path in ["", "/", "/webhooks", "/deliveries", "/audit", "/nothing"] {
        let shown = visitor.get(path).await;
        assert_eq!(shown.status, 200, "{path}");
        assert!(
            shown.has("name=\"password\"") && !shown.has("ObjectCreated"),
            "{path}"
        );
    }
    for path in ["/live/events", "/?renew=1"] {
        visitor.headers = vec![("hx-request", "true".to_owned())];
        assert_eq!(visitor.method("GET", path).await.status, 401, "{path}");
        visitor.headers.clear();
    }
    // A part of a page is told in a part; what was typed into the rest stays.
    visitor.headers = vec![("hx-request", "true".to_owned())];
    let part = visitor.post_once("/webhooks/check", &[]).await;
    assert!(
        part.status == 401 && part.has("role=\"alert\"") && !part.has("<html"),
        "{}",
        part.text
    );
    assert_eq!(part.header("hx-refresh"), "");
    visitor.headers.clear();
    visitor.get("/login").await;
    let wrong = visitor
        .post("/login", &[("user", ADMIN.0), ("password", "wrong")])
        .await;
    assert!(
        wrong.status == 401 && wrong.has("User or password is wrong"),
        "{}",
        wrong.text
    );
    assert!(!wrong.has("wrong\"") && !wrong.has("value=\"wrong"));

    let mut visitor = Visitor::logged_in(scene.sidecar.listen, ADMIN.0, ADMIN.1).await;
    let home = visitor.get("/").await;
    assert!(
        home.status == 200 && home.has("All is well")
            || home.has("is being examined")
            || home.has("Events arrive")
    );
    assert!(home.has("<html lang=\"en\">") && home.has("admin"));
    let one = visitor.get(&format!("/webhooks/{id}")).await;
    assert!(one.forms().len() >= 6, "{:?}", one.forms());
    // Dutch, by the switch and by the browser.
    let dutch = visitor.get("/webhooks?lang=nl").await;
    assert!(dutch.has("<html lang=\"nl\">") && dutch.has("Nieuwe webhook"));
    assert!(visitor.get("/").await.has("Overzicht"));
    assert_eq!(visitor.cookies["orw_language"], "nl");
    visitor.get("/?lang=en").await;
    assert!(visitor.get("/").await.has("Overview"));

    let mut reader = Visitor::logged_in(scene.sidecar.listen, READER.0, READER.1).await;
    for path in [
        "/",
        "/webhooks",
        &format!("/webhooks/{id}"),
        "/deliveries",
        "/jobs",
        "/live",
        "/events",
        "/audit",
    ] {
        let shown = reader.get(path).await;
        assert_eq!(shown.status, 200, "{path}");
        // One form: to log out.
        assert_eq!(shown.forms(), [format!("{PAGE}/logout")], "{path}");
    }
    assert_eq!(reader.get("/webhooks/new").await.status, 403);
    assert_eq!(reader.get(&format!("/webhooks/{id}/edit")).await.status, 403);

    let old = visitor.cookies.clone();
    visitor.get("/").await;
    let out = visitor.post("/logout", &[]).await;
    assert!(out.has("name=\"password\""));
    visitor.cookies = old;
    assert!(
        visitor.get("/webhooks").await.has("name=\"password\""),
        "the old id is of no use"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn before_nextcloud_its_session_opens_the_page_and_its_refusal_closes_it() {
    let nextcloud = Nextcloud::start().await;
    let scene = Scene::on(Db::openregister(Generation::V0_2_13).await)
        .with("ORW_NEXTCLOUD_URL", &nextcloud.url())
        .running()
        .await;
    let id = scene
        .register(r"OCA\OpenRegister\Event\ObjectCreatedEvent", json!({}))
        .await;
    let mut nobody = Visitor::new(scene.sidecar.listen);
    let shown = nobody.get("/").await;
    assert_eq!(shown.status, 401);
    assert!(
        shown.has("/index.php/login?redirect_url=%2Fapps%2Fopenregister_webhooks%2F"),
        "{}",
        shown.text
    );
    // Other credentials do not open the page: a form would be sent with them by itself.
    nobody.headers = vec![("authorization", format!("Bearer {}", Nextcloud::BEARER))];
    assert_eq!(nobody.get("/").await.status, 401);

    let mut admin = Visitor::with_cookie(scene.sidecar.listen, Nextcloud::SESSION.0);
    let home = admin.get("/").await;
    assert!(home.status == 200 && home.has("admin"), "{}", home.text);
    assert!(!home.has("/logout"), "one logs out in Nextcloud");
    assert_eq!(
        admin.cookies["nc_token"], "renewed",
        "Nextcloud's cookies are handed on"
    );
    let asked = nextcloud
        .take_seen()
        .into_iter()
        .rev()
        .find(|seen| seen.path.contains("webhook_listeners"))
        .unwrap();
    assert_eq!(
        (asked.method.as_str(), asked.header("ocs-apirequest")),
        ("GET", "true")
    );
    // What is not ours is still Nextcloud's.
    assert_eq!(
        admin
            .method("GET", "/apps/openregister_webhooks_other/")
            .await
            .status,
        admin.method("GET", "/apps/files/").await.status
    );

    admin.get(&format!("/webhooks/{id}")).await;
    let paused = admin.post(&format!("/webhooks/{id}/pause"), &[]).await;
    assert!(
        paused.status == 200 && paused.has("The webhook is paused"),
        "{}",
        paused.text
    );
    assert_eq!(
        scene.json(&["webhook", "show", &id.to_string(), "--json"]).await["status"]["state"],
        "paused"
    );

    // The session stays, the right goes: the very next change is refused, and then nothing is shown any more.
    nextcloud.mood(|mood| mood.admins.clear());
    let refused = admin.post(&format!("/webhooks/{id}/resume"), &[]).await;
    assert_eq!(refused.status, 403);
    assert_eq!(admin.get("/webhooks").await.status, 403);
    admin.headers = vec![("hx-request", "true".to_owned())];
    let part = admin.get("/?renew=1").await;
    assert!(part.status == 403 && part.has("role=\"alert\"") && !part.has("<html"));
    admin.headers.clear();
    assert_eq!(
        scene.json(&["webhook", "show", &id.to_string(), "--json"]).await["status"]["state"],
        "paused"
    );

    nextcloud.mood(|mood| {
        mood.admins = vec!["admin".to_owned()];
        mood.maintenance = true;
    });
    let away = Visitor::with_cookie(scene.sidecar.listen, "nc_session=s3ss10n; x=1")
        .get("/")
        .await;
    assert!(away.status == 503 && away.has("maintenance"), "{}", away.text);
}
