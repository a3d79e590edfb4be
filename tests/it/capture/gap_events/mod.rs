//! Webhooks that ask for it are told of changes that could not be captured: once, in every format, whatever is killed.

mod quarantine;
mod replay;
mod scene;

use std::collections::{BTreeMap, BTreeSet};

use openregister_webhooks::catalogue::{format_schema, gap_schema};
use openregister_webhooks::registry::Format;
use orw_testkit::receiver::Received;
use serde_json::{Value, json};

use self::scene::{PATIENCE, SECRET, Scene};
use crate::support::capture::older_schema;
use crate::support::receiver::Answer;

const API: &str = "/ocs/v2.php/apps/openregister_webhooks/api/v1";
const GAP: &str = "openregister-webhooks.gap";
const OBJECTS: &str = r"OCA\OpenRegister\Event\Object*";
const FORMATS: [Format; 4] = [
    Format::Documented,
    Format::Nextcloud,
    Format::CloudEvents,
    Format::OpenRegister,
];

/// The name of the event that a body of this format tells of.
fn name(format: Format, body: &Value) -> &Value {
    match format {
        Format::Documented | Format::OpenRegister => &body["event"],
        Format::Nextcloud => &body["event"]["class"],
        Format::CloudEvents | Format::NlGov => &body["type"],
        Format::Zgw | Format::Template => &body["class"],
    }
}

fn gap(format: Format, body: &Value) -> &Value {
    match format {
        Format::Nextcloud => &body["event"]["gap"],
        _ => &body["data"]["gap"],
    }
}

/// The notices that arrived at `path`, by table.
fn told(received: &[Received], path: &str, format: Format) -> BTreeMap<String, Vec<Received>> {
    let mut by_table: BTreeMap<String, Vec<Received>> = BTreeMap::new();
    for request in received.iter().filter(|request| request.path == path) {
        let body = request.json();
        if name(format, &body) == GAP {
            let table = gap(format, &body)["table"].as_str().unwrap().to_owned();
            by_table.entry(table).or_default().push(request.clone());
        }
    }
    by_table
}

fn valid(schema: &Value, body: &Value) -> Vec<String> {
    let schema = jsonschema::options()
        .should_validate_formats(true)
        .build(schema)
        .unwrap();
    schema.iter_errors(body).map(|error| error.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_outbox_is_told_to_those_who_asked_once_in_every_format() {
    let mut scene = Scene::new().await;
    for format in FORMATS {
        let path = format!("/{}", format.as_str());
        let fields = json!({"format": format.as_str(), "gapEvents": true});
        scene.register(&path, OBJECTS, fields).await;
    }
    let documented = scene
        .count("SELECT id FROM openregister_webhooks.webhook WHERE format = 'documented'")
        .await;
    scene.register("/silent", OBJECTS, json!({})).await;
    // Lost changes cannot be filtered, so no filter suppresses the notice.
    let never = json!({"gapEvents": true, "userIdFilter": "nobody", "eventFilter": {"event.class": "none"}});
    scene.register("/filtered", OBJECTS, never).await;
    let registers = r"OCA\OpenRegister\Event\RegisterUpdatedEvent";
    scene
        .register("/registers", registers, json!({"gapEvents": true}))
        .await;
    scene
        .register(
            "/agents",
            r"OCA\OpenRegister\Event\Agent*",
            json!({"gapEvents": true}),
        )
        .await;
    let disabled = scene
        .register("/disabled", OBJECTS, json!({"gapEvents": true, "enabled": false}))
        .await;
    scene.sidecar.kill().await;
    scene.lose().await;

    scene.sidecar.start().await;
    scene
        .until(
            "SELECT count(*) FROM openregister_webhooks.gap WHERE told_at IS NOT NULL",
            2,
        )
        .await;
    scene.delivered().await;
    // Once, even if another process leads and other changes follow.
    scene.sidecar.kill().await;
    scene.sidecar.start().await;
    scene.import("after").await;
    scene
        .receiver
        .wait_until(
            |all| {
                let after = |r: &&Received| String::from_utf8_lossy(&r.body).contains("\"after-10\"");
                all.iter().filter(after).count() >= 5
            },
            PATIENCE,
        )
        .await
        .unwrap();
    scene.delivered().await;

    let all = scene.receiver.received();
    let table = "oc_openregister_table_1_1";
    let mut ids = BTreeSet::new();
    for format in FORMATS {
        let path = format!("/{}", format.as_str());
        let told = told(&all, &path, format);
        assert_eq!(told.keys().collect::<Vec<_>>(), [table], "{path}");
        let [request] = told[table].as_slice() else {
            panic!("{path}: told {} times", told[table].len());
        };
        standardwebhooks::Webhook::new(SECRET)
            .unwrap()
            .verify(&request.body, &request.headers)
            .unwrap();
        assert_eq!(
            (request.header("orw-reason"), request.header("orw-attempt")),
            ("live", "1")
        );
        ids.insert(request.header("webhook-id").to_owned());
        let body = request.json();
        for schema in [gap_schema(format), format_schema(format)] {
            assert_eq!(valid(&schema, &body), Vec::<String>::new(), "{path}: {body}");
        }
        let gap = gap(format, &body);
        assert_eq!(
            (&gap["entity"], &gap["registerId"], &gap["schemaId"]),
            (&json!("object"), &json!(1), &json!(1))
        );
        let time = |name: &str| chrono::DateTime::parse_from_rfc3339(gap[name].as_str().unwrap()).unwrap();
        assert!(time("since") < time("until"));
        assert!(gap["reason"].as_str().unwrap().starts_with("the outbox was full"));
        assert_eq!(
            gap["remedy"],
            "openregister-webhooks backfill --table oc_openregister_table_1_1"
        );
    }
    assert_eq!(ids.len(), 1, "one gap has one id: {ids:?}");
    let told_at = |path: &str| told(&all, path, Format::Documented);
    assert!(told_at("/silent").is_empty(), "it did not ask");
    assert!(all.iter().any(|request| request.path == "/silent"));
    let filtered: Vec<&Received> = all.iter().filter(|r| r.path == "/filtered").collect();
    assert_eq!((filtered.len(), told_at("/filtered").len()), (1, 1));
    let of_registers = told_at("/registers");
    assert_eq!(
        of_registers.keys().collect::<Vec<_>>(),
        ["oc_openregister_registers"]
    );
    let gap = &of_registers["oc_openregister_registers"][0].json()["data"]["gap"];
    assert_eq!(
        (&gap["entity"], &gap["registerId"]),
        (&json!("register"), &Value::Null)
    );
    for path in ["/agents", "/disabled"] {
        assert!(all.iter().all(|request| request.path != path), "{path}");
    }

    // It is in the list of deliveries and in the figures, as any other.
    let listed = scene.json(&["delivery", "list", "--class", GAP, "--json"]).await;
    let listed = listed["deliveries"].as_array().unwrap();
    assert_eq!(listed.len(), 6);
    for entry in listed {
        assert_eq!(
            (&entry["class"], &entry["state"]),
            (&json!(GAP), &json!("succeeded"))
        );
    }
    let route = format!("{API}/deliveries?class={GAP}&webhook={documented}");
    let page = scene.sidecar.api("GET", &route, json!({})).await.json();
    let page = &page["ocs"]["data"]["deliveries"];
    assert_eq!(page[0]["lane"], "gap:openregister_table_1_1", "{page}");
    assert_eq!(&page[0]["eventId"], ids.first().unwrap());

    // A replay repeats it, with the same id; nobody else's does.
    scene.receiver.forget();
    for id in [documented, disabled] {
        let enable = format!("{API}/webhooks/{id}/enable");
        assert_eq!(scene.sidecar.api("POST", &enable, json!({})).await.status, 200);
    }
    let silent = scene
        .count("SELECT id FROM openregister_webhooks.webhook WHERE uri LIKE '%/silent'")
        .await;
    for id in [documented, silent] {
        let id = id.to_string();
        let done = scene
            .sidecar
            .cli(&["replay", "--webhook", &id, "--since", "1h"])
            .await;
        assert_eq!(done.0, 0, "{done:?}");
    }
    scene.delivered().await;
    let all = scene.receiver.received();
    let again = told(&all, "/documented", Format::Documented);
    assert_eq!(again[table].len(), 1);
    let again = &again[table][0];
    assert_eq!(
        (again.header("webhook-id"), again.header("orw-reason")),
        (ids.first().unwrap().as_str(), "replay")
    );
    assert!(told(&all, "/silent", Format::Documented).is_empty());
    assert!(all.iter().any(|request| request.path == "/silent"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_that_is_killed_around_it_tells_it_all_the_same_with_the_same_id() {
    let mut scene = Scene::new().await;
    scene.register("/hook", OBJECTS, json!({"gapEvents": true})).await;
    // Nothing can be put into the queue, so the gap is there and cannot be told.
    let mut blocker = scene.db.client().await;
    let lock = blocker.transaction().await.unwrap();
    lock.batch_execute("SELECT pg_advisory_xact_lock(hashtextextended('openregister_webhooks.enqueue', 0))")
        .await
        .unwrap();
    scene
        .client
        .batch_execute(
            "INSERT INTO openregister_webhooks.gap (tbl, reason, remedy) VALUES ('oc_openregister_objects', 'because', 'none'), \
                 ('oc_somebody_elses', 'because', 'none')",
        )
        .await
        .unwrap();
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    scene.until(waiting, 1).await;
    scene.sidecar.kill().await;
    let untold = "SELECT count(*) FROM openregister_webhooks.gap WHERE told_at IS NULL";
    let stored = "SELECT count(*) FROM openregister_webhooks.event WHERE class = 'openregister-webhooks.gap'";
    // What the killed process was about is rolled back when PostgreSQL has noticed.
    scene.until(waiting, 0).await;
    assert_eq!((scene.count(untold).await, scene.count(stored).await), (2, 0));
    lock.rollback().await.unwrap();

    // Told, and killed while the receiver has the request in hand.
    scene.receiver.always(Answer::Hang);
    scene.sidecar.start().await;
    scene.receiver.wait_for(1, PATIENCE).await.unwrap();
    scene.sidecar.kill().await;
    assert_eq!((scene.count(untold).await, scene.count(stored).await), (0, 1));
    scene.receiver.always(Answer::Status(200));
    scene.sidecar.start().await;
    let got = scene.receiver.wait_for(2, PATIENCE).await.unwrap();
    scene.delivered().await;
    assert_eq!(scene.receiver.count(), 2);
    assert_eq!(
        got[0].header("webhook-id"),
        got[1].header("webhook-id"),
        "a repeat has the same id"
    );
    assert_eq!(got[0].body, got[1].body);
    let gap = &got[1].json()["data"]["gap"];
    assert_eq!(
        (&gap["table"], &gap["since"], &gap["registerId"]),
        (&json!("oc_openregister_objects"), &Value::Null, &Value::Null)
    );
    assert_eq!((scene.count(untold).await, scene.count(stored).await), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_was_found_too_late_is_told() {
    let scene = Scene::new().await;
    let asked = scene
        .register("/asked", OBJECTS, json!({"gapEvents": true}))
        .await;
    scene.register("/silent", OBJECTS, json!({})).await;
    scene
        .client
        .batch_execute(
            "BEGIN; CREATE TABLE oc_openregister_table_2002_7 (_id bigserial PRIMARY KEY, _uuid text); \
             INSERT INTO oc_openregister_table_2002_7 (_uuid) SELECT 'u' || i FROM generate_series(1, 10001) i; COMMIT",
        )
        .await
        .unwrap();
    let got = scene.receiver.wait_for(1, PATIENCE).await.unwrap();
    scene.delivered().await;
    assert_eq!(scene.receiver.count(), 1);
    assert_eq!(got[0].path, "/asked");
    let gap = &got[0].json()["data"]["gap"];
    assert_eq!(
        (&gap["registerId"], &gap["schemaId"], &gap["since"], &gap["until"]),
        (&json!(2002), &json!(7), &Value::Null, &Value::Null)
    );
    assert!(
        gap["reason"].as_str().unwrap().contains("more than 10000 rows"),
        "{gap}"
    );
    assert_eq!(scene.sidecar.metric("orw_gaps_total").await, 1.0);

    // The field is shown, and can be taken back; a test shows what it looks like.
    let id = asked.to_string();
    assert_eq!(
        scene.json(&["webhook", "show", &id, "--json"]).await["gapEvents"],
        true
    );
    let tried = scene
        .json(&["webhook", "test", &id, "--class", GAP, "--json"])
        .await;
    assert_eq!(
        (&tried["succeeded"], &tried["class"]),
        (&json!(true), &json!(GAP))
    );
    let seen = scene.receiver.received();
    assert_eq!(seen[1].header("orw-reason"), "test");
    assert_eq!(
        valid(&gap_schema(Format::Documented), &seen[1].json()),
        Vec::<String>::new()
    );
    let changed = scene
        .json(&["webhook", "update", &id, "--gap-events", "false", "--json"])
        .await;
    assert_eq!(changed["gapEvents"], false);
    let shown = scene
        .sidecar
        .api("GET", &format!("{API}/webhooks/{id}"), json!({}))
        .await;
    assert_eq!(shown.json()["ocs"]["data"]["gapEvents"], false);
    let wrong =
        json!({"httpMethod": "POST", "uri": scene.receiver.url("/x"), "event": OBJECTS, "gapEvents": "yes"});
    let route = "/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks";
    let refused = scene.sidecar.api("POST", route, wrong).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("gapEvents: must be true or false"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_found_before_an_upgrade_is_no_news() {
    let mut scene = Scene::new().await;
    scene.sidecar.kill().await;
    // As the version before left it.
    older_schema(&scene.client, 9).await;
    scene
        .client
        .batch_execute(
            "INSERT INTO openregister_webhooks.gap (tbl, reason, remedy) VALUES ('oc_openregister_objects', 'long ago', 'none')",
        )
        .await
        .unwrap();
    let (code, _, errors) = scene.sidecar.cli(&["install"]).await;
    assert_eq!(code, 0, "{errors}");
    let old =
        "SELECT count(*) FROM openregister_webhooks.gap WHERE told_at IS NOT NULL AND reason = 'long ago'";
    assert_eq!(scene.count(old).await, 1);
    scene.sidecar.start().await;
    scene.register("/hook", OBJECTS, json!({"gapEvents": true})).await;
    scene
        .client
        .batch_execute(
            "INSERT INTO openregister_webhooks.gap (tbl, reason, remedy) VALUES ('oc_openregister_objects', 'today', 'none')",
        )
        .await
        .unwrap();
    let got = scene.receiver.wait_for(1, PATIENCE).await.unwrap();
    scene.delivered().await;
    assert_eq!(scene.receiver.count(), 1);
    assert_eq!(got[0].json()["data"]["gap"]["reason"], "today");
}
