//! Client certificates of webhooks: registered over the API and the command line, encrypted at rest, never shown.

use openregister_webhooks::registry::WebhookId;
use orw_testkit::certificate::{Authority, Flaw, Leaf};
use serde_json::{Value, json};

use crate::support::api::{Answer, MASTER_KEY, Service};
use crate::support::cli::Cli;
use crate::support::postgres::NEXTCLOUD;

const ROUTE: &str = "/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks";
const OURS: &str = "/ocs/v2.php/apps/openregister_webhooks/api/v1/webhooks";

fn leaf(flaw: Flaw) -> Leaf {
    Authority::new().unwrap().leaf(&["client"], flaw).unwrap()
}

fn pair(leaf: &Leaf) -> Value {
    json!({"certificate": leaf.certificate_pem(), "key": leaf.key_pem()})
}

async fn send(service: &Service, route: &str, uri: &str, certificate: Option<Value>) -> Answer {
    let mut body =
        json!({"httpMethod": "POST", "uri": uri, "event": r"OCA\OpenRegister\Event\ObjectCreatedEvent"});
    let secret = certificate.as_ref().and_then(|given| {
        let key = given["key"].as_str()?;
        key.lines().nth(1).map(str::to_owned)
    });
    if let Some(certificate) = certificate {
        body["clientCertificate"] = certificate;
    }
    let answer = service.admin("POST", route).json(&body).send().await;
    if let Some(secret) = secret {
        assert!(!answer.text.contains(&secret), "{}", answer.text);
    }
    answer
}

fn held(service: &Service, id: i64) -> Option<String> {
    let snapshot = service.registry.snapshot();
    let webhook = snapshot.get(WebhookId(id)).unwrap();
    webhook.client_certificate.as_ref().map(|c| c.shown_fingerprint())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_registered_kept_shown_by_its_fingerprint_and_removed() {
    let service = Service::start().await;
    let (one, two) = (leaf(Flaw::None), leaf(Flaw::None));
    let uri = "https://example.com/hook";
    let made = send(&service, ROUTE, uri, Some(pair(&one))).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let shown = made.data()["clientCertificate"].clone();
    assert_eq!(shown["key"], "***");
    assert_eq!(shown["fingerprint"].as_str().unwrap().len(), 95);
    assert!(shown["notAfter"].is_string() && shown["subject"].is_string());
    let id = made.data()["id"].as_i64().unwrap();
    let first = held(&service, id).unwrap();
    let route = format!("{ROUTE}/{id}");
    // Left out, or as it was shown: it stays.
    send(&service, &route, uri, None).await;
    assert_eq!(held(&service, id).as_ref(), Some(&first));
    let again = send(&service, &route, uri, Some(shown.clone())).await;
    assert_eq!((again.status, held(&service, id).as_ref()), (200, Some(&first)));
    // It does not follow to another origin, where whoever moves it could use it, nor to plain text.
    for elsewhere in ["https://evil.example/hook", "https://example.com:8443/hook"] {
        for certificate in [None, Some(shown.clone())] {
            let moved = send(&service, &route, elsewhere, certificate).await;
            assert_eq!(moved.status, 400, "{}", moved.text);
            assert!(moved.text.contains("clientCertificate"), "{}", moved.text);
        }
    }
    let moved = send(&service, &route, "https://example.org/hook", Some(pair(&two))).await;
    assert_eq!(moved.status, 200, "{}", moved.text);
    let second = held(&service, id).unwrap();
    assert_ne!(second, first);
    let all = service.admin("GET", &format!("{OURS}/{id}")).send().await;
    assert_eq!(all.data()["clientCertificate"]["fingerprint"], second.as_str());
    assert!(!all.text.contains("BEGIN"));
    // At rest nothing of it can be read; in the audit table is what tells which it was.
    let client = service.db.client().await;
    let sql = "SELECT client_certificate FROM openregister_webhooks.webhook WHERE id = $1";
    let stored: Vec<u8> = client.query_one(sql, &[&id]).await.unwrap().get(0);
    assert!(!stored.windows(5).any(|w| w == b"BEGIN"));
    let sql = "SELECT string_agg(detail, ' ') FROM openregister_webhooks.audit WHERE webhook_id = $1";
    let audit: String = client.query_one(sql, &[&id]).await.unwrap().get(0);
    assert!(audit.contains(&first) && audit.contains(&second) && !audit.contains("BEGIN"));
    // Its encryption changes with the key's.
    service.registry.rotate_key().await.unwrap();
    service.registry.refresh().await.unwrap();
    assert_eq!(held(&service, id).as_ref(), Some(&second));
    let removed = send(&service, &route, "http://example.org/hook", Some(json!({}))).await;
    assert_eq!(
        removed.status, 400,
        "http:// is not allowed here: {}",
        removed.text
    );
    let removed = send(&service, &route, "https://example.org/hook", Some(json!({}))).await;
    assert_eq!((removed.status, held(&service, id)), (200, None));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_refused_with_what_is_wrong() {
    let service = Service::start().await;
    let (one, two, expired) = (leaf(Flaw::None), leaf(Flaw::None), leaf(Flaw::Expired));
    let mixed = json!({"certificate": one.certificate_pem(), "key": two.key_pem()});
    for (certificate, said) in [
        (mixed, "clientCertificate.key: does not belong to the certificate"),
        (
            pair(&expired),
            "clientCertificate.certificate: expired on 2020-02-01",
        ),
        (
            json!({"certificate": one.certificate_pem()}),
            "clientCertificate.key: is required",
        ),
        (
            json!({"key": one.key_pem()}),
            "clientCertificate.certificate: is required",
        ),
        (
            json!({"certificate": one.certificate_pem(), "key": "***"}),
            "clientCertificate.key: is required",
        ),
        (
            json!({"certificate": 5, "key": ""}),
            "clientCertificate.certificate: must be a string",
        ),
        (json!("x"), "clientCertificate: must be an object"),
        (
            json!({"certificate": "x", "key": "y"}),
            "clientCertificate.certificate: must hold 1 to 8",
        ),
    ] {
        let answer = send(&service, ROUTE, "https://example.com/", Some(certificate)).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        let message = answer.json()["ocs"]["meta"]["message"].to_string();
        assert!(message.contains(said), "{message}: {said}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_reads_it_from_files() {
    let service = Service::start().await;
    let one = leaf(Flaw::None);
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, one.certificate_pem()).unwrap();
    std::fs::write(&key, one.key_pem()).unwrap();
    let cli = || {
        Cli::new(&service.db.url(NEXTCLOUD))
            .with("ORW_MASTER_KEY", MASTER_KEY)
            .with("ORW_TARGETS_ALLOW_HTTP", "true")
    };
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let files = [
        "--client-cert",
        cert,
        "--client-key",
        key,
        "--legacy-signature",
        "true",
        "--json",
    ];
    let plain = [
        &[
            "webhook",
            "add",
            "--event",
            "Object*",
            "--uri",
            "http://example.com/",
        ][..],
        &files,
    ]
    .concat();
    let said = cli().run(&plain).await;
    assert!(said.code != 0 && said.err.contains("https://"), "{said:?}");
    let good = [
        &[
            "webhook",
            "add",
            "--event",
            "Object*",
            "--uri",
            "https://example.com/",
        ][..],
        &files,
    ]
    .concat();
    let made = cli().run(&good).await;
    assert_eq!(made.code, 0, "{made:?}");
    assert!(!made.out.contains("BEGIN"));
    let made = made.json();
    assert_eq!(
        (&made["clientCertificate"]["key"], &made["legacySignature"]),
        (&json!("***"), &json!(true))
    );
    let id = made["id"].to_string();
    let half = cli()
        .run(&["webhook", "update", &id, "--client-cert", cert])
        .await;
    assert!(half.code != 0 && half.err.contains("--client-key"), "{half:?}");
    let kept = cli()
        .run(&["webhook", "update", &id, "--rate", "5", "--json"])
        .await
        .json();
    assert_eq!(kept["clientCertificate"], made["clientCertificate"]);
    let none = cli()
        .run(&["webhook", "update", &id, "--no-client-cert", "--json"])
        .await
        .json();
    assert_eq!(
        (&none["clientCertificate"], &none["legacySignature"]),
        (&Value::Null, &json!(true))
    );
    service.stop().await;
}
