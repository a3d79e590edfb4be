//! What a newcomer gets wrong: the message names the mistake and the next step.

use std::path::Path;

use crate::support::api::installed;
use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::sidecar::Sidecar;

fn on(url: &str) -> Sidecar {
    Sidecar::new(url, Path::new("")).without("ORW_CA_FILE")
}

#[tokio::test]
async fn without_the_schema_each_command_says_how_to_install_it() {
    let db = Db::empty().await;
    let sidecar = on(&db.url(NEXTCLOUD));
    for command in [
        &["webhook", "list"][..],
        &["delivery", "list"],
        &["job", "list"],
        &["events", "--follow"],
        &["status"],
        &["run"],
    ] {
        let (code, _, err) = sidecar.cli(command).await;
        assert!(
            code == 1 && err.contains("remedy: ") && err.contains("openregister-webhooks install"),
            "{command:?}: {code} {err}"
        );
    }
}

#[tokio::test]
async fn wrong_ids_and_misspelt_events_are_named() {
    let db = installed().await;
    let sidecar = on(&db.url(NEXTCLOUD));
    for command in [
        &["webhook", "show", "abc"][..],
        &["webhook", "show", "0"],
        &["delivery", "show", "abc"],
        &["job", "show", "abc"],
        &["delivery", "list", "--webhook", "abc"],
    ] {
        let (code, _, err) = sidecar.cli(command).await;
        assert!(
            code == 2 && err.contains("an id is a positive number"),
            "{command:?}: {code} {err}"
        );
    }
    for command in [
        &["events", "--example", "ObjectCreateEvent"][..],
        &["delivery", "list", "--class", "objectcreated"],
        &[
            "webhook",
            "add",
            "--uri",
            "https://example.com",
            "--event",
            "ObjectCreateEvent",
        ],
    ] {
        let (code, _, err) = sidecar.cli(command).await;
        assert!(
            code != 0 && err.contains("did you mean ") && err.contains("ObjectCreatedEvent"),
            "{command:?}: {err}"
        );
    }
}

#[tokio::test]
async fn a_flag_that_does_not_exist_is_answered_with_a_similar_one_or_none() {
    let sidecar = on("postgres://nobody@127.0.0.1:1/none");
    let (code, _, err) = sidecar.cli(&["delivery", "list", "--stat", "x"]).await;
    assert!(code == 2 && err.contains("'--state'"), "{err}");
    let (code, _, err) = sidecar.cli(&["status", "--lissten", "x"]).await;
    assert!(code == 2 && err.contains("'--listen'"), "{err}");
    let (code, _, err) = sidecar.cli(&["erase", "x", "--yes"]).await;
    assert!(code == 2 && !err.contains("similar"), "{err}");
}

#[tokio::test]
async fn the_receiver_refuses_what_cannot_work() {
    let sidecar = on("postgres://nobody@127.0.0.1:1/none");
    for secret in ["abc", "generate", "whsec_short"] {
        let (code, out, err) = sidecar.cli(&["receive", "--port", "0", "--secret", secret]).await;
        assert!(
            code == 2 && out.is_empty() && err.contains("whsec_…"),
            "{code} {err}"
        );
        assert!(secret == "generate" || !err.contains(secret), "{err}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, _, err) = sidecar.cli(&["receive", "--port", &port]).await;
    assert!(
        code == 1 && err.contains(&port) && err.contains("--port"),
        "{code} {err}"
    );
}
