//! What the form says before anything is saved, and what it keeps to itself.

use orw_testkit::Generation;
use serde_json::json;

use super::visitor::{Visitor, at_the_form};
use crate::support::postgres::Db;
use crate::support::scene::Scene;
use crate::support::sidecar::ADMIN;

const DRAFT: [(&str, &str); 6] = [
    ("method", "POST"),
    ("event", "ObjectCreatedEvent"),
    ("format", "documented"),
    ("mode", "full"),
    ("ordering", "object"),
    ("filter", ""),
];

async fn checked(visitor: &mut Visitor, more: &[(&str, &str)]) -> String {
    let shown = visitor
        .post("/webhooks/check", &[&DRAFT[..], more].concat())
        .await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    shown.text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_where_the_address_leads_and_whether_that_is_allowed() {
    let scene = Scene::on(Db::openregister(Generation::V0_2_13).await)
        .fast()
        .with("ORW_TARGETS_ALLOW", "127.0.0.2/32")
        .running()
        .await;
    let mut visitor = Visitor::logged_in(scene.sidecar.listen, ADMIN.0, ADMIN.1).await;
    visitor.get("/webhooks/new").await;
    // The name says nothing that would be refused; what it leads to is.
    let refused = checked(&mut visitor, &[("uri", "https://localhost:1/")]).await;
    assert!(
        refused.contains("This can be saved")
            && refused.contains("No request would be sent there now:")
            && refused.contains("loopback")
            && refused.contains("ORW_TARGETS_ALLOW"),
        "{refused}"
    );
    // Nothing listens at the port: it is not connected to.
    let allowed = checked(&mut visitor, &[("uri", "https://127.0.0.2:1/")]).await;
    assert!(
        allowed.contains("Requests may go to <code>127.0.0.2:1</code>"),
        "{allowed}"
    );
    let nowhere = checked(&mut visitor, &[("uri", "https://nowhere.invalid/")]).await;
    assert!(
        nowhere.contains("The name leads nowhere now:") || nowhere.contains("takes too long now"),
        "{nowhere}"
    );
    let unwritten = checked(&mut visitor, &[("uri", "")]).await;
    assert!(unwritten.contains("Fill in the address"), "{unwritten}");
    for told in [
        "Requests may go",
        "No request would",
        "leads nowhere",
        "takes too long",
    ] {
        assert!(!unwritten.contains(told), "{unwritten}");
    }
    assert_eq!(scene.receiver.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn further_fields_are_checked_saved_and_not_shown_again() {
    let (scene, mut visitor) = at_the_form().await;
    let uri = scene.receiver.url("/jwt");
    let uri = ("uri", uri.as_str());
    for (more, why) in [
        ("{\"secret\": \"hidden-one\"}", "is none of authMethod"),
        ("hidden-one", "must be a JSON object"),
        (
            "{\"authMethod\": \"jwt\", \"authData\": {\"secret\": \"hidden-one\"}}",
            "authData.client_id",
        ),
    ] {
        let told = checked(&mut visitor, &[uri, ("more", more)]).await;
        assert!(told.contains(why) && !told.contains("hidden-one"), "{told}");
    }
    let more =
        json!({"authMethod": "jwt", "authData": {"client_id": "zgw", "secret": "hidden-one"}}).to_string();
    let made = visitor
        .post("/webhooks/new", &[&DRAFT[..], &[uri, ("more", &more)]].concat())
        .await;
    assert!(made.has("whsec_") && !made.has("hidden-one"), "{}", made.text);
    scene.objects(1, 1).await;
    let received = scene.received(1).await;
    let token = received[0].headers["authorization"].to_str().unwrap();
    assert!(
        token.starts_with("Bearer ") && token.matches('.').count() == 2,
        "{token}"
    );
}
