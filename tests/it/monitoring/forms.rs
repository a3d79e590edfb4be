//! Both text forms of the metrics, read by programs of others, and each metric on its page.

use std::collections::BTreeSet;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use orw_testkit::Generation;
use serde_json::json;

use crate::support::prometheus::promtool;
use crate::support::scene::Scene;
use crate::support::sidecar::{Reply, get, send};
use crate::support::wait::until;

/// What Prometheus sends.
const OPEN_METRICS: &str =
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

async fn scrape(scene: &Scene, accept: &str) -> Reply {
    let request = Request::get("/metrics")
        .header("host", "localhost")
        .header("accept", accept)
        .body(Full::new(Bytes::new()))
        .unwrap();
    send(scene.sidecar.metrics, request).await.unwrap()
}

/// The names of the families: `# TYPE name …`.
fn families(text: &str) -> BTreeSet<&str> {
    let described = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    described.filter_map(|line| line.split(' ').next()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_are_what_their_readers_expect_and_every_metric_is_documented() {
    let mut scene = Scene::new(Generation::V0_2_13).await;
    scene.sidecar.start().await;
    scene.register(r"OCA\OpenRegister\Event\Object*", json!({})).await;
    scene.objects(1, 3).await;
    scene.received(3).await;
    until("it has measured", async || {
        scene.sidecar.metric("orw_measured_timestamp_seconds").await > 1e9
    })
    .await;

    let plain = get(scene.sidecar.metrics, "/metrics").await.unwrap();
    assert!(
        !plain.body.contains("# EOF") && !plain.body.contains("# UNIT"),
        "{}",
        plain.body
    );
    if let Some(done) = promtool("the metrics, by promtool", &["check", "metrics"], &plain.body) {
        done.unwrap_or_else(|said| panic!("{said}"));
    }
    let open = scrape(&scene, OPEN_METRICS).await;
    assert!(open.body.ends_with("# EOF\n"), "{}", open.body);
    for line in open.body.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        for unit in ["seconds", "bytes"] {
            let described = open.body.contains(&format!("# UNIT {name} {unit}\n"));
            assert_eq!(
                name.ends_with(&format!("_{unit}")),
                described,
                "the unit of {name}"
            );
        }
    }

    // Every family is on the page, and the page names no other.
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).unwrap();
    let rows: String = page.lines().filter(|line| line.starts_with('|')).collect();
    let words = rows
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|word| word.split('{').next().unwrap());
    let documented: BTreeSet<&str> = words
        .filter(|word| word.starts_with("orw_") || word.starts_with("process_"))
        .collect();
    // These have series only if there is something to show.
    let absent = ["orw_listener_certificate_expiry_timestamp_seconds"];
    let shown: BTreeSet<&str> = families(&plain.body).into_iter().chain(absent).collect();
    assert_eq!(documented, shown);

    // The stages of the way are all measured.
    for stage in [
        "capture_wait",
        "lifecycle",
        "delivery_queue_wait",
        "delivery_attempt",
        "delivery_latency",
        "capture_lag",
    ] {
        let count = scene.sidecar.metric(&format!("orw_{stage}_seconds_count")).await;
        assert!(count >= 3.0, "{stage}: {count}");
    }
}
