//! Statistics count what was delivered; a test of a webhook is not counted, and reports what the receiver did.

use chrono::DateTime;
use orw_testkit::Generation;
use orw_testkit::receiver::Received;
use serde_json::{Value, json};

use crate::support::receiver::Answer;
use crate::support::scene::{API, PATIENCE, Scene, uuid};

const CREATED: &str = r"OCA\OpenRegister\Event\ObjectCreatedEvent";

/// The figures of a webhook over the API.
async fn figures(scene: &Scene, webhook: i64) -> Value {
    let path = format!("{API}/webhooks/{webhook}/statistics");
    let reply = scene.sidecar.api("GET", &path, json!({})).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["ocs"]["data"].clone()
}

/// Waits until the counts, which are written every second, are these.
async fn counted(scene: &Scene, webhook: i64, succeeded: i64, given_up: i64) -> Value {
    let sql = format!(
        "SELECT (coalesce(sum(count) FILTER (WHERE outcome = 'succeeded'), 0) * 1000 \
            + coalesce(sum(count) FILTER (WHERE outcome = 'given_up'), 0))::bigint \
         FROM openregister_webhooks.webhook_count WHERE webhook = {webhook}"
    );
    scene.until(&sql, succeeded * 1000 + given_up).await;
    figures(scene, webhook).await
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_are_what_the_receiver_saw() {
    let mut scene = Scene::new(Generation::V0_2_13).await;
    scene.sidecar.start().await;
    let stubborn = |request: &Received| request.json()["data"]["object"]["uuid"] == uuid(3);
    scene.receiver.decide(move |request| match request.path.as_str() {
        "/paused" => Answer::Status(500),
        _ if stubborn(request) => Answer::Status(503),
        _ => Answer::Status(200),
    });
    let quick = json!({"retry": {"schedule": [1, 1], "maxAttempts": 3}});
    let webhook = scene.register(CREATED, quick).await;
    let waits = json!({"uri": scene.receiver.url("/paused"), "retry": {"schedule": [3600]}});
    let waits = scene.register(CREATED, waits).await;
    let idle = scene
        .register(r"OCA\OpenRegister\Event\ViewCreatedEvent", json!({}))
        .await;
    scene.objects(1, 4).await;
    scene
        .until("SELECT count(*) FROM openregister_webhooks.delivery_log", 4)
        .await;

    let got = scene.receiver.received();
    let of = |status: u16| {
        let fits = |request: &&Received| {
            request.path == "/hook" && matches!(request.answer, Answer::Status(s) if s == status)
        };
        i64::try_from(got.iter().filter(fits).count()).unwrap()
    };
    assert_eq!((of(200), of(503)), (3, 3));
    // How a receiver is doing is written once a second.
    let health = format!(
        "SELECT count(*) FROM openregister_webhooks.webhook_health WHERE webhook = {webhook} AND last_success IS NOT NULL AND last_failure IS NOT NULL"
    );
    scene.until(&health, 1).await;
    let seen = counted(&scene, webhook, of(200), 1).await;
    assert_eq!(
        (&seen["succeeded"], &seen["givenUp"]),
        (&json!(of(200)), &json!(1))
    );
    assert_eq!(seen["failedAttempts"], json!({"status": of(503)}));
    assert_eq!(
        (&seen["pending"], &seen["retrying"], &seen["leased"]),
        (&json!(0), &json!(0), &json!(0))
    );
    assert_eq!(seen["oldestPending"], Value::Null);
    assert_eq!(seen["latencyMs"]["sample"], json!(of(200)));
    let latency = &seen["latencyMs"];
    assert!(
        latency["median"].as_i64().unwrap() <= latency["p99"].as_i64().unwrap(),
        "{seen}"
    );
    assert!(seen["lastSuccess"].is_string() && seen["lastFailure"].is_string());
    assert!(seen["lastCause"].as_str().unwrap().contains("503"), "{seen}");

    // Four that were tried once and wait; nothing at all.
    scene.until(&format!("SELECT count(*) FROM openregister_webhooks.delivery WHERE webhook = {waits} AND state = 'retrying'"), 4).await;
    let waiting = counted(&scene, waits, 0, 0).await;
    assert_eq!(
        (&waiting["pending"], &waiting["retrying"]),
        (&json!(4), &json!(4))
    );
    assert!(waiting["oldestPending"].is_string() && waiting["latencyMs"].is_null());
    assert_eq!(
        (
            &figures(&scene, idle).await["pending"],
            &figures(&scene, idle).await["succeeded"]
        ),
        (&json!(0), &json!(0))
    );
    let all = scene
        .sidecar
        .api("GET", &format!("{API}/statistics"), json!({}))
        .await
        .json();
    let ids: Vec<&Value> = all["ocs"]["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["webhook"])
        .collect();
    assert_eq!(ids, [&json!(webhook), &json!(waits), &json!(idle)]);
    let missing = scene
        .sidecar
        .api("GET", &format!("{API}/webhooks/7/statistics"), json!({}))
        .await;
    assert_eq!(missing.status, 404);

    // The same on the command line.
    let shown = scene
        .json(&["webhook", "statistics", &webhook.to_string(), "--json"])
        .await;
    assert_eq!(shown[0], figures(&scene, webhook).await);
    let (code, out, _) = scene.sidecar.cli(&["webhook", "statistics"]).await;
    assert_eq!((code, out.lines().count()), (0, 4), "{out}");
    assert!(out.lines().next().unwrap().contains("GIVEN UP"), "{out}");
    let line: Vec<&str> = out.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(line[..3], [webhook.to_string().as_str(), "0", "0"]);
    assert_eq!((line[4], line[5]), ("3", "1"), "{out}");
    let (code, _, err) = scene.sidecar.cli(&["webhook", "statistics", "7"]).await;
    assert!(
        code == 1 && err.contains("webhook 7 does not exist"),
        "{code} {err}"
    );

    // The last success is the newest: of a receiver that never failed, and of one whose failures are long over.
    let fine = json!({"uri": scene.receiver.url("/fine")});
    let fine = scene.register(CREATED, fine).await;
    scene.objects(5, 6).await;
    let sql = "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE state = 'succeeded'";
    scene.until(sql, 3 + 2 + 2).await;
    for webhook in [webhook, fine] {
        let newest = format!(
            "SELECT (extract(epoch FROM max(finished_at)) * 1000000)::bigint FROM openregister_webhooks.delivery_log \
             WHERE webhook = {webhook} AND state = 'succeeded'"
        );
        let shown = figures(&scene, webhook).await["lastSuccess"].clone();
        let at = DateTime::parse_from_rfc3339(shown.as_str().unwrap()).unwrap();
        assert_eq!(at.timestamp_micros(), scene.count(&newest).await, "{webhook}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_shows_what_arrives_and_why_it_does_not_and_leaves_no_trace_in_the_figures() {
    let mut scene = Scene::new(Generation::V0_2_13).await;
    scene.sidecar.start().await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let fields = json!({"secret": secret, "headers": {"X-Which": "mine"}, "authMethod": "header", "authData": {"Authorization": "Bearer hidden"}});
    let webhook = scene.register(r"OCA\OpenRegister\Event\Object*", fields).await;
    let id = webhook.to_string();
    let path = format!("{API}/webhooks/{webhook}/test");
    let ask = async |body: Value| {
        let reply = scene.sidecar.api("POST", &path, body).await;
        (reply.status, reply.json()["ocs"].clone())
    };
    let (status, done) = ask(json!({})).await;
    assert_eq!(
        (status, &done["data"]["succeeded"], &done["data"]["status"]),
        (200, &json!(true), &json!(200))
    );
    // It is the request that a delivery would be, but for the reason.
    let got = scene.receiver.wait_for(1, PATIENCE).await.unwrap();
    let request = &got[0];
    assert_eq!(request.json()["event"], CREATED);
    assert_eq!(
        request.header("webhook-id"),
        done["data"]["eventId"].as_str().unwrap()
    );
    for (name, value) in [
        ("orw-reason", "test"),
        ("x-which", "mine"),
        ("authorization", "Bearer hidden"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(request.header(name), value);
    }
    let verifier = standardwebhooks::Webhook::new(secret).unwrap();
    verifier.verify(&request.body, &request.headers).unwrap();
    let (status, _) = ask(json!({"class": "ObjectDeletedEvent"})).await;
    assert_eq!(status, 200);
    assert_eq!(
        scene.receiver.received()[1].json()["event"],
        r"OCA\OpenRegister\Event\ObjectDeletedEvent"
    );
    let (status, refused) = ask(json!({"class": "NoSuchEvent"})).await;
    assert!(
        status == 400
            && refused["meta"]["message"]
                .as_str()
                .unwrap()
                .starts_with("class: "),
        "{refused}"
    );

    // The API and the command report the error, and the command ends with 1.
    scene.receiver.always(Answer::Full {
        status: 422,
        headers: Vec::new(),
        body: "unknown field".into(),
    });
    let (status, failed) = ask(json!({})).await;
    assert_eq!(
        (status, &failed["data"]["succeeded"], &failed["data"]["cause"]),
        (200, &json!(false), &json!("status"))
    );
    assert_eq!(
        (&failed["data"]["status"], &failed["data"]["response"]),
        (&json!(422), &json!("unknown field"))
    );
    let (code, out, _) = scene.sidecar.cli(&["webhook", "test", &id]).await;
    assert!(
        code == 1 && out.starts_with("failed: status 422") && out.contains("unknown field"),
        "{code} {out}"
    );
    scene.receiver.always(Answer::Cut);
    let cut = ask(json!({})).await.1["data"].clone();
    assert!(
        cut["succeeded"] == false && cut["cause"].is_string() && cut["error"].is_string(),
        "{cut}"
    );
    assert!(
        !cut.to_string().contains("hidden") && !cut.to_string().contains(secret),
        "{cut}"
    );
    let elsewhere = json!({"httpMethod": "POST", "event": CREATED, "uri": format!("https://{}/", crate::support::sidecar::free_port())});
    let nobody = scene.sidecar.register(elsewhere).await.to_string();
    let (code, out, _) = scene.sidecar.cli(&["webhook", "test", &nobody, "--json"]).await;
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &told["cause"], &told["status"]),
        (1, &json!("connect"), &Value::Null),
        "{told}"
    );
    // Also of a webhook that is disabled: it is how one finds out whether to enable it.
    scene.receiver.always(Answer::Status(204));
    scene.json(&["webhook", "disable", &id, "--json"]).await;
    let (code, out, _) = scene
        .sidecar
        .cli(&["webhook", "test", &id, "--class", "ObjectLockedEvent"])
        .await;
    assert!(
        code == 0 && out.starts_with("arrived: status 204") && out.contains("ObjectLockedEvent"),
        "{code} {out}"
    );
    assert_eq!(scene.sidecar.cli(&["webhook", "test", "7"]).await.0, 1);

    // Neither log nor figures nor health know of it.
    let list = scene.json(&["delivery", "list", "--json"]).await;
    assert_eq!(list["deliveries"], json!([]));
    let figures = figures(&scene, webhook).await;
    assert_eq!(
        (
            &figures["succeeded"],
            &figures["failedAttempts"],
            &figures["failuresInARow"]
        ),
        (&json!(0), &json!({}), &json!(0))
    );
}
