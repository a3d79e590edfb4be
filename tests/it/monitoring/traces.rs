//! Traces: a collector receives the spans of a delivery, its retry included, and the receiver's `traceparent` belongs to them.

use orw_testkit::Generation;
use orw_testkit::collector::{Collector, SeenSpan};
use serde_json::json;

use crate::support::postgres::Db;
use crate::support::receiver::Answer;
use crate::support::scene::{PATIENCE, Scene};
use crate::support::wait::until;

const CREATED: &str = r"OCA\OpenRegister\Event\ObjectCreatedEvent";

/// A scene that sends its spans to a collector. Both servers have an authority of their own, so the file holds two.
async fn traced() -> (Scene, Collector) {
    let collector = Collector::start().await.unwrap();
    let scene = Scene::on(Db::openregister(Generation::V0_2_13).await)
        .fast()
        .with("ORW_OTLP_ENDPOINT", &collector.endpoint())
        .with("ORW_RETRY_SCHEDULE", "1s,1s,1s")
        .logging()
        .installed()
        .await;
    let both = format!("{}{}", scene.receiver.ca_pem(), collector.receiver.ca_pem());
    std::fs::write(scene.path("ca.pem"), both).unwrap();
    (scene, collector)
}

/// Waits until so many spans of this name have arrived.
async fn named(collector: &Collector, name: &str, count: usize) -> Vec<SeenSpan> {
    let of_name = || {
        let spans = collector.spans().unwrap();
        spans
            .into_iter()
            .filter(|span| span.name == name)
            .collect::<Vec<_>>()
    };
    until(&format!("{count} spans {name}"), async || {
        of_name().len() >= count
    })
    .await;
    of_name()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_with_a_retry_is_a_trace_that_the_receiver_joins() {
    let (mut scene, collector) = traced().await;
    scene.sidecar.start().await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let more = json!({"format": "cloudevents", "secret": secret, "headers": {"X-Token": "hidden-header", "tracestate": "old=1"},
        "uri": scene.receiver.url("/hidden-path")});
    let webhook = scene.register(CREATED, more).await.to_string();
    scene.receiver.next([Answer::Status(503)]);
    scene.objects(1, 1).await;
    let requests = scene.received(2).await;

    let delivery = named(&collector, "delivery", 1).await.remove(0);
    let attempts = named(&collector, "attempt", 2).await;
    let batch = named(&collector, "batch", 1).await.remove(0);
    for (attempt, request) in attempts.iter().zip(&requests) {
        assert_eq!(
            request.header("traceparent"),
            format!("00-{}-{}-01", attempt.trace, attempt.id)
        );
        assert_eq!(request.header("tracestate"), "");
        assert_eq!((&attempt.trace, &attempt.parent), (&delivery.trace, &delivery.id));
        assert_eq!(
            attempt.attributes["messaging.message.id"],
            request.header("webhook-id")
        );
        assert_eq!(attempt.attributes["orw.attempt"], request.header("orw-attempt"));
        assert_eq!(attempt.links, [(batch.trace.clone(), batch.id.clone())]);
        assert!(delivery.began <= attempt.began && attempt.ended <= delivery.ended);
    }
    // The trace is the event, which whoever has the `webhook-id` can look for.
    assert_eq!(
        format!("evt_{}", delivery.trace),
        requests[0].header("webhook-id")
    );
    // The body is the same in both attempts, and so names the delivery (CloudEvents, distributed tracing extension).
    let parents: Vec<_> = requests
        .iter()
        .map(|request| request.json()["traceparent"].clone())
        .collect();
    let parent = format!("00-{}-{}-01", delivery.trace, delivery.id);
    assert_eq!(parents, [json!(parent), json!(parent)]);
    assert_eq!(requests[0].body, requests[1].body);
    let statuses: Vec<_> = attempts
        .iter()
        .map(|a| a.attributes["http.response.status_code"].as_str())
        .collect();
    assert_eq!(statuses, ["503", "200"]);
    assert_eq!(
        (attempts[0].status, attempts[0].attributes["error.type"].as_str()),
        (2, "status")
    );
    assert_eq!((delivery.status, delivery.parent.as_str()), (1, ""));
    assert_eq!(delivery.attributes["orw.webhook.id"], webhook);
    assert_eq!(delivery.service["service.name"], "openregister-webhooks");
    assert_eq!(delivery.links, [(batch.trace.clone(), batch.id.clone())]);
    assert_eq!(batch.attributes["orw.batch.events"], "1");
    // Nothing that must not be there.
    for request in collector.receiver.received() {
        let text = String::from_utf8_lossy(&request.body).into_owned();
        for secret in ["hidden", "whsec", "/hidden-path", "127.0.0.1", "localhost"] {
            assert!(!text.contains(secret), "{secret} is in a span");
        }
    }
    assert!(
        scene
            .sidecar
            .metric("orw_trace_spans_total{result=\"exported\"}")
            .await
            >= 4.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_fails_harms_nothing_and_without_one_there_is_no_trace() {
    let (mut scene, collector) = traced().await;
    // It takes a request and never answers: deliveries go on, and the process ends in good order.
    collector.receiver.always(Answer::Hang);
    scene.sidecar.start().await;
    let webhook = json!({"format": "cloudevents"});
    scene.register(CREATED, webhook).await;
    scene.objects(1, 20).await;
    scene.received(20).await;
    until("the collector has a request", async || {
        collector.receiver.count() > 0
    })
    .await;
    assert_eq!(scene.sidecar.terminate().await, Some(0));
    // It refuses.
    collector.receiver.always(Answer::Status(400));
    scene.sidecar.start().await;
    scene.objects(21, 40).await;
    scene.received(40).await;
    until("spans that the collector did not take are counted", async || {
        scene
            .sidecar
            .metric("orw_trace_spans_total{result=\"failed\"}")
            .await
            > 0.0
    })
    .await;
    assert_eq!(scene.sidecar.terminate().await, Some(0));

    // Without an endpoint there is neither header nor attribute, and a header of the registration stays what it is.
    scene.sidecar = scene.another();
    scene.sidecar.start().await;
    scene.receiver.forget();
    let own = json!({"uri": scene.receiver.url("/own"), "headers": {"traceparent": "00-1-2-00"}});
    scene.register(CREATED, own).await;
    scene.objects(41, 41).await;
    let requests = scene.receiver.wait_for(2, PATIENCE).await.unwrap();
    for request in requests {
        let own = if request.path == "/own" { "00-1-2-00" } else { "" };
        assert_eq!(request.header("traceparent"), own);
        assert!(request.json().get("traceparent").is_none());
    }
}
