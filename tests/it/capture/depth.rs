//! Values that nest as deeply as PHP writes them, and deeper, from the row to the body; beyond the limit: quarantine and a gap.

use orw_model::json::{AROUND, DEEPEST, parse_deep};
use orw_testkit::Generation;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::scene::{PATIENCE, Scene};
use crate::support::wait::until_number;

const TABLE: &str = "oc_openregister_table_9_9";
const FORMATS: [&str; 4] = ["documented", "nextcloud", "cloudevents", "openregister"];

/// `levels` objects and lists in each other, around the text `core`.
fn nested(levels: usize, core: &str) -> String {
    let (mut open, mut close) = (String::new(), String::new());
    for level in 0..levels {
        open.push_str(if level % 2 == 0 { "{\"a\":" } else { "[" });
        close.insert(0, if level % 2 == 0 { '}' } else { ']' });
    }
    format!("{open}\"{core}\"{close}")
}

async fn write(client: &Client, uuid: &str, levels: usize) {
    // `json` keeps the text as it is, `jsonb` does not; a text column holds what OpenRegister encoded itself.
    let sql = format!("INSERT INTO {TABLE} (_uuid, twig, tree) VALUES ($1, $2::text::json, $3::text::jsonb)");
    let texts = (nested(levels, "twig"), nested(levels, "tree"));
    client.execute(&sql, &[&uuid, &texts.0, &texts.1]).await.unwrap();
}

/// PostgreSQL writes `jsonb` with blanks.
fn without_blanks(text: &str) -> String {
    text.replace(' ', "")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nests_deeply_arrives_in_every_format_and_again_and_beyond_the_limit_a_gap_is_told() {
    let mut scene = Scene::new(Generation::V0_2_13).await;
    let create = format!(
        "CREATE TABLE {TABLE} (_id bigserial PRIMARY KEY, _uuid text, _deleted jsonb, twig json, tree jsonb, leaf text)"
    );
    scene.client.batch_execute(&create).await.unwrap();
    assert_eq!(scene.sidecar.cli(&["install"]).await.0, 0);
    scene.sidecar.start().await;
    let mut documented = 0;
    for format in FORMATS {
        let id = scene
            .sidecar
            .register(json!({
                "uri": scene.receiver.url(&format!("/{format}")), "event": r"OCA\OpenRegister\Event\Object*", "format": format,
                // Looks into the deep value, so all of it is built for the filter.
                "eventFilter": {"$or": [{"data.object.data.tree.a": {"$exists": true}}, {"data.newObject.data.twig": {"$exists": true}}]},
            }))
            .await;
        if format == "documented" {
            documented = id;
        }
    }
    scene
        .sidecar
        .register(json!({
            "uri": scene.receiver.url("/gaps"), "event": r"OCA\OpenRegister\Event\Object*", "gapEvents": true,
            "eventFilter": {"data.object.uuid": "nothing"},
        }))
        .await;

    // PHP's limit, and the deepest that a row may have: the row itself is a level.
    for levels in [512, DEEPEST - 1] {
        write(&scene.client, &format!("deep-{levels}"), levels).await;
        scene
            .client
            .batch_execute(&format!(
                "UPDATE {TABLE} SET leaf = 'changed' WHERE _uuid = 'deep-{levels}'"
            ))
            .await
            .unwrap();
    }
    let done = "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE state = 'succeeded'";
    until_number(&scene.client, done, 16, PATIENCE).await;
    let check = |path: &str, expected: usize| {
        let received = scene.receiver.received();
        let bodies: Vec<&str> = received
            .iter()
            .filter(|request| request.path == path)
            .map(|request| std::str::from_utf8(&request.body).unwrap())
            .collect();
        assert_eq!(bodies.len(), expected, "{path}");
        for levels in [512, DEEPEST - 1] {
            let of: Vec<&&str> = bodies
                .iter()
                .filter(|body| body.contains(&format!("\"deep-{levels}\"")))
                .collect();
            assert_eq!(of.len(), expected / 2, "{path} {levels}");
            for body in of {
                let body = without_blanks(body);
                assert!(body.contains(&nested(levels, "twig")), "{path} {levels}");
                assert!(body.contains(&nested(levels, "tree")), "{path} {levels}");
                assert!(parse_deep(&body, DEEPEST + AROUND).is_ok(), "{path} {levels}");
            }
        }
    };
    for format in FORMATS {
        check(&format!("/{format}"), 4);
    }
    scene.sidecar.replay(documented).await;
    until_number(&scene.client, done, 20, PATIENCE).await;
    check("/documented", 8);

    // One level more than may be.
    write(&scene.client, "deeper", DEEPEST).await;
    until_number(
        &scene.client,
        "SELECT count(*) FROM openregister_webhooks.quarantine",
        1,
        PATIENCE,
    )
    .await;
    let reason = "SELECT count(*) FROM openregister_webhooks.quarantine WHERE reason LIKE '%nested deeper than 1000 levels%'";
    until_number(&scene.client, reason, 1, PATIENCE).await;
    until_number(&scene.client, done, 21, PATIENCE).await;
    let gaps: Vec<Value> = scene
        .receiver
        .received()
        .iter()
        .filter(|request| request.path == "/gaps")
        .map(|request| request.json()["data"]["gap"].clone())
        .collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0]["table"], TABLE);
    // The same process goes on.
    write(&scene.client, "flat", 3).await;
    until_number(&scene.client, done, 25, PATIENCE).await;
    assert_eq!(scene.sidecar.terminate().await, Some(0));
}
