//! What others try: forged forms, frames, fixed sessions, readers who post.

use orw_testkit::Generation;
use serde_json::json;

use super::visitor::{PAGE, Visitor};
use crate::support::postgres::Db;
use crate::support::scene::{READER, Scene};
use crate::support::sidecar::ADMIN;

/// Every form of the page that changes something.
fn changes(id: i64) -> Vec<String> {
    let webhook = [
        "enable", "disable", "pause", "resume", "test", "secret", "delete", "retry", "replay", "backfill",
        "edit",
    ];
    let mut all: Vec<String> = webhook
        .iter()
        .map(|action| format!("/webhooks/{id}/{action}"))
        .collect();
    all.extend(
        [
            "/webhooks/new",
            "/webhooks/check",
            "/deliveries/1/retry",
            "/deliveries/retry",
            "/jobs/1/cancel",
            "/nothing",
        ]
        .map(str::to_owned),
    );
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_forms_fixed_sessions_and_readers_change_nothing() {
    let (scene, id) = Scene::with_a_reader().await;
    let revision = "SELECT revision::bigint FROM openregister_webhooks.registry";
    let before = scene.count(revision).await;
    let address = scene.sidecar.listen;
    let fields = [("confirm", id.to_string()), ("since", "1h".to_owned())];
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();

    let mut admin = Visitor::logged_in(address, ADMIN.0, ADMIN.1).await;
    admin.get("/").await;
    let mut reader = Visitor::logged_in(address, READER.0, READER.1).await;
    reader.get("/").await;
    let mut nobody = Visitor::new(address);
    nobody.get("/login").await;
    for path in changes(id) {
        // With the administrator's cookies, as another site would make the browser send it.
        assert_eq!(
            admin.forge(&path, &fields).await.status,
            403,
            "{path} without a token"
        );
        let stolen = admin.token.clone();
        admin.token = reader.token.clone();
        assert_eq!(
            admin.post(&path, &fields).await.status,
            403,
            "{path} with another's token"
        );
        admin.token = stolen;
        for site in ["cross-site", "same-site"] {
            admin.headers = vec![("sec-fetch-site", site.to_owned())];
            assert_eq!(admin.post(&path, &fields).await.status, 403, "{path} from {site}");
        }
        admin.headers.clear();
        assert_eq!(
            reader.post(&path, &fields).await.status,
            403,
            "{path} by a reader"
        );
        let answer = nobody.post_once(&path, &fields).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, format!("{PAGE}/login").as_str()),
            "{path} by nobody"
        );
    }
    assert_eq!(scene.count(revision).await, before);
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        assert_eq!(
            admin.method(method, &format!("/webhooks/{id}")).await.status,
            405,
            "{method}"
        );
    }

    // The id that a browser had before the login is worth nothing after it, whoever chose it.
    let mut victim = Visitor::new(address);
    victim.get("/login").await;
    let fixed = victim.cookies.clone();
    victim
        .post("/login", &[("user", ADMIN.0), ("password", ADMIN.1)])
        .await;
    assert_ne!(victim.cookies["orw_page"], fixed["orw_page"]);
    let mut attacker = Visitor::new(address);
    attacker.cookies = fixed;
    assert!(attacker.get("/").await.has("name=\"password\""));
    attacker
        .cookies
        .insert("orw_page".to_owned(), "chosen".to_owned());
    attacker.get("/login").await;
    assert_ne!(
        attacker.cookies["orw_page"], "chosen",
        "an id that is not ours is replaced"
    );
    // A form has a bounded number of fields, before the login, too.
    let many = vec![("user", "x"); 1001];
    for visitor in [&mut Visitor::new(address), &mut admin] {
        let refused = visitor.forge("/login", &many).await;
        assert!(
            refused.status == 400 && refused.has("more than 1000 parameters"),
            "{}",
            refused.text
        );
    }
    assert_eq!(admin.forge("/webhooks/new", &many).await.status, 400);
    // A login that another site sends has no token of this browser.
    let mut forged = Visitor::new(address);
    assert_eq!(
        forged
            .forge("/login", &[("user", ADMIN.0), ("password", ADMIN.1)])
            .await
            .status,
        403
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_what_a_browser_may_do_with_it() {
    let scene = Scene::on(Db::openregister(Generation::V0_2_13).await)
        .running()
        .await;
    let id = scene
        .register(r"OCA\OpenRegister\Event\ObjectCreatedEvent", json!({}))
        .await;
    let address = scene.sidecar.listen;
    let mut visitor = Visitor::new(address);
    let login = visitor.get("/login").await;
    let set = login
        .headers
        .get_all("set-cookie")
        .iter()
        .map(|value| value.to_str().unwrap());
    let cookie = set.into_iter().find(|set| set.starts_with("orw_page=")).unwrap();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/apps/openregister_webhooks"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let mut admin = Visitor::logged_in(address, ADMIN.0, ADMIN.1).await;
    let mut nonces = std::collections::BTreeSet::new();
    for path in [
        "/",
        "/webhooks",
        &format!("/webhooks/{id}"),
        "/webhooks/new",
        "/deliveries",
        "/jobs",
        "/live",
        "/events",
        "/events/ObjectCreatedEvent",
        "/audit",
        "/nothing",
        "/login",
    ] {
        let shown = admin.get(path).await;
        for (name, value) in [
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(shown.header(name), value, "{path}");
        }
        let policy = shown.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "script-src 'nonce-",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        let nonce = policy
            .split("nonce-")
            .nth(1)
            .unwrap()
            .split('\'')
            .next()
            .unwrap()
            .to_owned();
        assert!(nonces.insert(nonce), "a nonce is used once");
        // Nothing inline: no style, no handler, no script without a file.
        for inline in [
            " style=",
            " onclick=",
            " onload=",
            "<style",
            "javascript:",
            "<script>",
        ] {
            assert!(!shown.has(inline), "{path}: {inline}");
        }
    }
    // Over TLS, which a trusted proxy speaks for us, the cookie is sent over TLS only.
    let behind = Scene::on(Db::openregister(Generation::V0_2_13).await)
        .with("ORW_TRUSTED_PROXIES", "127.0.0.0/8")
        .running()
        .await;
    // Proxies that add to a list write the client's scheme first.
    for (scheme, secure) in [("https", true), ("https, https", true), ("http, https", false)] {
        let mut visitor = Visitor::new(behind.sidecar.listen);
        visitor.headers = vec![
            ("x-forwarded-proto", scheme.to_owned()),
            ("x-forwarded-for", "192.0.2.9".to_owned()),
        ];
        visitor.get("/login").await;
        assert_eq!(
            visitor.cookies.contains_key("__Secure-orw_page"),
            secure,
            "{scheme}: {:?}",
            visitor.cookies
        );
    }
    let style = admin
        .get("/")
        .await
        .text
        .split("href=\"")
        .find(|text| text.contains("page.css"))
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let sheet = Visitor::new(address).get(&style).await;
    assert!(sheet.status == 200 && sheet.header("cache-control").contains("immutable"));
    // By the name of another version it is this one, and not to be kept.
    let other = Visitor::new(address)
        .get("/assets/0123456789abcdef/page.css")
        .await;
    assert_eq!((other.status, other.header("cache-control")), (200, "no-store"));
}
