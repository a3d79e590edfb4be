//! Who may do what, and that everything a client can send is bounded.

use std::sync::Arc;

use openregister_webhooks::ocs::{Api, Authenticator, ListenerTls, LocalAccounts, Server};
use openregister_webhooks::registry::AnyTarget;
use orw_testkit::certificate::{Authority, Flaw};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::support::api::Service;
use crate::support::receiver::{client_config, connect};
use crate::support::wait::PATIENCE;

const LISTENERS: &str = "/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks";
const OWN: &str = "/ocs/v2.php/apps/openregister_webhooks/api/v1";

fn registration() -> Value {
    json!({"httpMethod": "POST", "uri": "https://example.com/webhook",
        "event": r"OCA\OpenRegister\Event\ObjectCreatedEvent"})
}

/// Every route of the document, as method and path.
fn routes() -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &Value)| {
        let methods = item
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| *key != "parameters")
            .cloned();
        methods
            .map(|method| (method.to_uppercase(), path.clone()))
            .collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

#[tokio::test]
async fn nobody_who_may_not_reads_or_changes_anything() {
    let service = Service::start().await;
    let made = service
        .admin("POST", LISTENERS)
        .json(&registration())
        .send()
        .await;
    let id = made.data()["id"].as_i64().unwrap();
    let before = service.registry.snapshot().revision();
    let mut tried = 0;
    for (method, path) in routes() {
        let path = path.replace("{id}", &id.to_string()).replace("{appid}", "app");
        if path.ends_with("/cloud/capabilities") {
            continue;
        }
        let ask = || {
            let asked = service.request(&method, &path).header("OCS-APIRequest", "true");
            asked.header("Accept", "application/json").json(&registration())
        };
        let answer = ask().send().await;
        assert_eq!(answer.status, 401, "{method} {path} without login");
        assert_eq!(answer.json()["ocs"]["meta"]["statuscode"], 997);
        let answer = ask().header("Authorization", "Bearer something").send().await;
        assert_eq!(answer.status, 401, "{method} {path} with a token");
        if !path.ends_with("/cloud/user") {
            let answer = ask().basic("bob", "bob-password").send().await;
            let status = if path.contains("v1.php") { 200 } else { 403 };
            assert_eq!(answer.status, status, "{method} {path} as a user");
            assert_eq!(answer.json()["ocs"]["meta"]["statuscode"], 403);
            assert_eq!(answer.data(), json!([]));
        }
        let bare = service.request(&method, &path).basic("admin", "admin-password");
        assert_eq!(
            bare.json(&registration()).send().await.status,
            412,
            "{method} {path} without OCS-APIRequest"
        );
        tried += 1;
    }
    assert!(tried >= 20, "{tried}");
    assert_eq!(service.registry.refresh().await.unwrap().revision(), before);
}

#[tokio::test]
async fn guessing_is_answered_with_429_and_says_how_long_to_wait() {
    let service = Service::start().await;
    let ask = async |password: &str| {
        let asked = service.request("GET", LISTENERS).header("OCS-APIRequest", "true");
        asked.basic("admin", password).send().await
    };
    assert_eq!(ask("admin-password").await.status, 200);
    let mut answers = Vec::new();
    for i in 0..60 {
        answers.push(ask(&i.to_string()).await);
    }
    assert!(answers[..50].iter().all(|answer| answer.status == 401));
    assert_eq!(answers[59].status, 429);
    assert!(answers[59].header("retry-after").parse::<u64>().unwrap() >= 1);
    // Whoever is known to be right is not locked out by others at the same address.
    assert_eq!(ask("admin-password").await.status, 200);
}

#[tokio::test]
async fn own_fields_are_answered_where_sent_and_the_secret_once() {
    let service = Service::start().await;
    let mut body = registration();
    body["rateLimit"] = json!({"perSecond": 5});
    body["secret"] = "generate".into();
    let made = service.admin("POST", LISTENERS).json(&body).send().await.data();
    let names: Vec<_> = made
        .as_object()
        .unwrap()
        .keys()
        .skip(11)
        .map(String::as_str)
        .collect();
    assert_eq!(names, ["rateLimit", "secret"]);
    assert_eq!(made["rateLimit"], json!({"perSecond": 5, "burst": 200}));
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_"));

    let id = made["id"].as_i64().unwrap();
    let one = format!("{LISTENERS}/{id}");
    let own = format!("{OWN}/webhooks/{id}");
    for path in [
        LISTENERS,
        &one,
        &own,
        &format!("{OWN}/webhooks"),
        &format!("{OWN}/audit"),
    ] {
        let answer = service.admin("GET", path).send().await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text.contains(&secret), "{path}");
    }
    assert_eq!(
        service
            .admin("GET", &one)
            .send()
            .await
            .data()
            .as_object()
            .unwrap()
            .len(),
        11
    );
    let plain = service
        .admin("POST", LISTENERS)
        .json(&registration())
        .send()
        .await
        .data();
    assert_eq!(plain.as_object().unwrap().len(), 11);

    let rotated = service
        .admin("POST", &format!("{own}/secret"))
        .json(&json!({"overlapSeconds": 60}))
        .send()
        .await;
    let rotated = rotated.data();
    assert_ne!(rotated["secret"].as_str().unwrap(), secret);
    assert_eq!(rotated["secrets"], 2);
    // What the update does not name stays.
    service.admin("POST", &one).json(&registration()).send().await;
    let kept = service.admin("GET", &own).send().await.data();
    assert_eq!(
        (&kept["rateLimit"]["perSecond"], &kept["secrets"]),
        (&json!(5), &json!(2))
    );
}

#[tokio::test]
async fn webhooks_are_paused_disabled_and_enabled_and_the_audit_tells() {
    let service = Service::start().await;
    let id = service
        .admin("POST", LISTENERS)
        .json(&registration())
        .send()
        .await
        .data()["id"]
        .as_i64()
        .unwrap();
    let act = async |action: &str| {
        let path = format!("{OWN}/webhooks/{id}/{action}");
        service
            .admin("POST", &path)
            .json(&json!({"reason": "maintenance"}))
            .send()
            .await
            .data()["status"]
            .clone()
    };
    assert_eq!(act("pause").await["state"], "paused");
    assert_eq!(act("resume").await["state"], "enabled");
    let disabled = act("disable").await;
    assert_eq!(
        (&disabled["state"], &disabled["reason"]),
        (&json!("disabled"), &json!("maintenance"))
    );
    assert_eq!(act("enable").await["state"], "enabled");
    let missing = service
        .admin("POST", &format!("{OWN}/webhooks/7/pause"))
        .send()
        .await;
    assert_eq!(
        (missing.status, missing.json()["ocs"]["meta"]["message"].clone()),
        (404, json!("Webhook 7 does not exist"))
    );

    let page = service
        .admin("GET", &format!("{OWN}/audit?limit=2&webhook={id}"))
        .send()
        .await
        .data();
    let actions = |page: &Value| -> Vec<String> {
        let entries = page["entries"].as_array().unwrap();
        entries
            .iter()
            .map(|entry| entry["action"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(actions(&page), ["enable", "disable"]);
    let next = format!("{OWN}/audit?limit=10&cursor={}", page["cursor"].as_str().unwrap());
    let rest = service.admin("GET", &next).send().await.data();
    assert_eq!(actions(&rest), ["enable", "pause", "create"]);
    assert_eq!(rest["cursor"], Value::Null);
    assert_eq!(
        service
            .admin("GET", &format!("{OWN}/audit?cursor=x"))
            .send()
            .await
            .status,
        400
    );
    assert_eq!(
        service
            .admin("GET", &format!("{OWN}/audit?limit=501"))
            .send()
            .await
            .status,
        400
    );
    let events = service.admin("GET", &format!("{OWN}/events")).send().await.data();
    assert_eq!(events.as_array().unwrap().len(), 33);
}

#[tokio::test]
async fn targets_that_the_guard_refuses_and_filters_that_can_only_fail_are_refused() {
    let service = Service::start().await;
    let ask = async |field: &str, value: Value| {
        let mut body = registration();
        body[field] = value;
        let answer = service.admin("POST", LISTENERS).json(&body).send().await;
        (
            answer.status,
            answer.json()["ocs"]["meta"]["message"]
                .as_str()
                .unwrap()
                .to_owned(),
        )
    };
    for (uri, word) in [
        ("http://example.com/", "ORW_TARGETS_ALLOW_HTTP"),
        ("https://127.0.0.1/", "ORW_TARGETS_ALLOW"),
        ("https://0x7f.1/", "ORW_TARGETS_ALLOW"),
        ("https://2130706433/", "ORW_TARGETS_ALLOW"),
        ("https://169.254.169.254/latest", "ORW_TARGETS_ALLOW"),
        ("https://[::ffff:10.0.0.1]/", "ORW_TARGETS_ALLOW"),
        ("https://user:hidden@example.com/", "authData"),
    ] {
        let (status, message) = ask("uri", uri.into()).await;
        assert_eq!(status, 400, "{uri}");
        assert!(
            message.starts_with("uri: ") && message.contains(word) && !message.contains("hidden"),
            "{message}"
        );
    }
    let (status, message) = ask("eventFilter", json!({"$or": [{"user.uid": {"$foo": 1}}]})).await;
    assert_eq!(status, 400);
    assert!(
        message.starts_with("eventFilter: ") && message.contains("$or[0].user.uid.$foo"),
        "{message}"
    );
    let (status, message) = ask("eventFilter", json!({"user.id": "bob"})).await;
    assert_eq!(status, 200);
    assert!(
        message.starts_with("OK; warning: eventFilter: user.id"),
        "{message}"
    );
    assert_eq!(service.registry.snapshot().all().len(), 1);
}

#[tokio::test]
async fn large_bodies_are_refused_before_they_are_read() {
    let service = Service::start().await;
    let mut body = registration();
    body["uri"] = format!("https://example.com/{}", "a".repeat(2 * 1024 * 1024)).into();
    let answer = service.admin("POST", LISTENERS).json(&body).send().await;
    assert_eq!(
        (answer.status, answer.json()["ocs"]["meta"]["statuscode"].clone()),
        (413, json!(413))
    );
    // Without a length, too, and after the answer nothing more is taken.
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let head = format!(
        "POST {LISTENERS} HTTP/1.1\r\nHost: x\r\nOCS-APIRequest: true\r\nTransfer-Encoding: chunked\r\n\
         Authorization: Basic YWRtaW46YWRtaW4tcGFzc3dvcmQ=\r\nContent-Type: application/json\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    for _ in 0..17 {
        if stream.write_all(&chunk).await.is_err() {
            break;
        }
    }
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn http2_is_spoken_and_large_headers_are_not_taken() {
    let service = Service::start().await;
    let stream = TcpStream::connect(service.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get(format!("http://{}/status.php", service.address))
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.version()),
        (200, hyper::Version::HTTP_2)
    );

    let answer = service
        .request("GET", "/status.php")
        .header("X-Long", &"a".repeat(100_000))
        .send()
        .await;
    assert_eq!(answer.status, 431);
}

#[tokio::test]
async fn an_idle_listener_that_stops_lets_requests_end() {
    let service = Service::start().await;
    let idle = TcpStream::connect(service.address).await.unwrap();
    let answer = service.request("GET", "/status.php").send().await;
    assert_eq!(answer.status, 200);
    let address = service.address;
    tokio::time::timeout(PATIENCE, service.stop()).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn the_listener_speaks_tls_and_shows_a_renewed_certificate() {
    let service = Service::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let put = |authority: &Authority| {
        let leaf = authority.leaf(&["localhost"], Flaw::None).unwrap();
        std::fs::write(&certificate, leaf.certificate_pem()).unwrap();
        std::fs::write(&key, leaf.key_pem()).unwrap();
    };
    let (first, second) = (Authority::new().unwrap(), Authority::new().unwrap());
    put(&first);
    let tls = ListenerTls::load(&certificate, &key).unwrap();
    let accounts = LocalAccounts::new(&[("admin".to_owned(), "x".to_owned().into())], &[]).unwrap();
    let accounts = Authenticator::Standalone(accounts);
    let api = Api::new(Arc::clone(&service.registry), Arc::new(AnyTarget), accounts).unwrap();
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), Vec::new())
        .await
        .unwrap()
        .with_tls(Arc::clone(&tls));
    let address = server.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.serve(Arc::new(api), stop.clone()));

    let status = async |authority: &Authority| {
        let mut sender = connect(address, client_config(authority)).await?;
        let request = hyper::Request::get("/status.php").header("host", "localhost");
        let request = request
            .body(http_body_util::Full::new(bytes::Bytes::new()))
            .unwrap();
        let answer = sender
            .send_request(request)
            .await
            .map_err(std::io::Error::other)?;
        Ok::<_, std::io::Error>(answer.status().as_u16())
    };
    assert_eq!(status(&first).await.unwrap(), 200);
    assert!(status(&second).await.is_err());
    put(&second);
    tls.reload().unwrap();
    assert_eq!(status(&second).await.unwrap(), 200);
    assert!(status(&first).await.is_err());
    // Nothing is answered in clear.
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain
        .write_all(b"GET /status.php HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
    stop.cancel();
    serving.await.unwrap();
}
