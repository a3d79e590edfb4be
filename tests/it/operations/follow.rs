//! `events --follow`, `delivery list --follow` and `status`: what happens, as it happens.

use serde_json::Value;

use super::delivered::Delivered;
use crate::support::scene::uuid;
use crate::support::wait::{until_contains, until_some};

#[tokio::test(flavor = "multi_thread")]
async fn events_and_deliveries_are_shown_as_they_happen_and_status_says_what_needs_attention() {
    let this = Delivered::new().await;
    let sidecar = &this.scene.sidecar;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (all, json, one, deliveries) = (file("all"), file("json"), file("one"), file("deliveries"));
    let bad = this.bad.to_string();
    let children = [
        sidecar.follow(&["events", "--follow", "--since", "1h"], &all),
        sidecar.follow(
            &["events", "--follow", "--since", "1h", "--json", "--webhook", &bad],
            &json,
        ),
        sidecar.follow(
            &[
                "events",
                "--follow",
                "--since",
                "1h",
                "--object",
                &uuid(2),
                "--class",
                "ObjectUpdatedEvent",
            ],
            &one,
        ),
        sidecar.follow(&["delivery", "list", "--follow", "--webhook", &bad], &deliveries),
    ];
    // What was there before comes first; then what happens while somebody looks.
    until_contains(&all, "ObjectUpdatedEvent").await;
    until_contains(&deliveries, "given_up").await;
    this.touch(2).await;
    this.logged(10).await;
    let only = until_contains(&one, &uuid(2)).await;
    assert_eq!(only.lines().count(), 1, "{only}");
    let lines = until_some("five events", async || {
        let text = std::fs::read_to_string(&json).unwrap();
        (text.lines().count() >= 5).then(|| text.lines().map(str::to_owned).collect::<Vec<_>>())
    })
    .await;
    let classes: Vec<_> = lines
        .iter()
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            assert_eq!(event["webhooks"], serde_json::json!([this.good, this.bad]));
            event["class"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(classes[..3], ["ObjectCreatedEvent"; 3]);
    assert_eq!(classes[3..], ["ObjectUpdatedEvent"; 2]);
    let shown = until_some("the new delivery in its last state", async || {
        let text = std::fs::read_to_string(&deliveries).unwrap();
        let of_it = |line: &&str| line.contains(&uuid(2)) && line.contains("ObjectUpdatedEvent");
        text.lines()
            .find(|line| of_it(line) && line.contains("given_up"))
            .map(str::to_owned)
    })
    .await;
    assert!(shown.contains(&format!("webhook {bad}")), "{shown}");
    drop(children);

    let status = this.scene.json(&["status", "--json"]).await;
    assert_eq!(status["webhooks"]["enabled"], 2, "{status}");
    assert_eq!(status["queue"]["pending"], 0, "{status}");
    let attention = status["attention"].as_array().unwrap();
    assert_eq!(
        (attention.len(), &attention[0]["webhook"]),
        (1, &this.bad.into()),
        "{status}"
    );
    let (code, out, err) = sidecar.cli(&["status"]).await;
    assert_eq!(code, 0, "{out}{err}");
    for part in [
        "verdict",
        "outbox",
        "queue     empty\n",
        "2 enabled",
        "failures in a row: status",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
}
