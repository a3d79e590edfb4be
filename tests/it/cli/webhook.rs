//! `webhook …` on the command line, and the API of the same program.

use std::path::Path;

use serde_json::json;

use crate::support::api::installed;
use crate::support::postgres::NEXTCLOUD;
use crate::support::sidecar::Sidecar;

#[tokio::test]
async fn webhooks_are_managed_without_the_api() {
    let db = installed().await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "Bearer hidden\n").unwrap();
    // An empty file would be refused; none is needed here.
    let sidecar = Sidecar::new(&db.url(NEXTCLOUD), Path::new("")).without("ORW_CA_FILE");
    let auth = format!("Authorization=@{}", token.display());
    let made = sidecar
        .json(&[
            "webhook",
            "add",
            "--uri",
            "https://example.com/a",
            "--event",
            "Object*",
            "--filter",
            r#"{"user.uid": "bob"}"#,
            "--header",
            "X-A=1",
            "--auth",
            &auth,
            "--rate",
            "5",
            "--schedule",
            "1,2s,3",
            "--json",
        ])
        .await;
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(made["event"], r"OCA\OpenRegister\Event\Object*");
    assert_eq!(
        (&made["headers"], &made["authData"]),
        (&json!({"X-A": "1"}), &json!("***"))
    );
    assert_eq!(made["retry"], json!({"maxAttempts": 4, "schedule": [1, 2, 3]}));
    let id = made["id"].to_string();

    let changed = sidecar
        .json(&[
            "webhook",
            "update",
            &id,
            "--uri",
            "https://example.com/b",
            "--json",
        ])
        .await;
    for field in [
        "event",
        "eventFilter",
        "headers",
        "authMethod",
        "authData",
        "rateLimit",
        "retry",
    ] {
        assert_eq!(changed[field], made[field], "{field}");
    }
    assert_eq!(changed["uri"], "https://example.com/b");
    let (code, _, err) = sidecar.cli(&["webhook", "update", &id]).await;
    assert!(code == 2 && err.contains("nothing to change"), "{code}: {err}");
    assert_eq!(changed.get("secret"), None);
    assert_eq!(
        sidecar.json(&["webhook", "pause", &id, "--json"]).await["status"]["state"],
        "paused"
    );
    assert_eq!(
        sidecar.json(&["webhook", "resume", &id, "--json"]).await["status"]["state"],
        "enabled"
    );
    let disabled = sidecar
        .json(&["webhook", "disable", &id, "--reason", "holidays", "--json"])
        .await;
    assert_eq!(disabled["status"]["reason"], "holidays");
    sidecar.json(&["webhook", "enable", &id, "--json"]).await;
    let rotated = sidecar.json(&["webhook", "rotate-secret", &id, "--json"]).await;
    assert_ne!(rotated["secret"], made["secret"]);
    assert_eq!(rotated["secrets"], 2);

    let (code, out, _) = sidecar.cli(&["webhook", "list"]).await;
    assert_eq!(
        (code, out),
        (
            0,
            format!(
                "{:>width$}  STATE    EVENT    URI\n{id}  enabled  Object*  https://example.com/b\n",
                "ID",
                width = id.len()
            )
        )
    );
    assert_eq!(
        sidecar
            .json(&["webhook", "list", "--json"])
            .await
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let (code, out, _) = sidecar.cli(&["webhook", "show", &id]).await;
    assert_eq!(code, 0);
    assert!(
        out.contains("https://example.com/b") && !out.contains("hidden") && !out.contains("whsec_"),
        "{out}"
    );
    let audit = sidecar.json(&["webhook", "audit", &id, "--json"]).await;
    let actions: Vec<_> = audit
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        [
            "rotate-secret",
            "enable",
            "disable",
            "enable",
            "pause",
            "update",
            "create"
        ]
    );

    assert_eq!(sidecar.cli(&["webhook", "remove", &id]).await.0, 0);
    let (code, _, err) = sidecar.cli(&["webhook", "remove", &id]).await;
    assert!(code == 1 && err.contains("does not exist"), "{code}: {err}");
}

#[tokio::test]
async fn what_is_wrong_on_the_command_line_is_named() {
    let db = installed().await;
    let sidecar = || Sidecar::new(&db.url(NEXTCLOUD), Path::new("")).without("ORW_CA_FILE");
    let event = ["--event", "ObjectCreatedEvent"];
    for (arguments, word) in [
        (
            &["--uri", "ftp://example.com"][..],
            "uri: must be an absolute URL",
        ),
        (
            &["--uri", "https://example.com", "--filter", "{"],
            "--filter is not JSON",
        ),
        (
            &[
                "--uri",
                "https://example.com",
                "--event",
                "openregister-webhooks.gap",
            ],
            "--gap-events true",
        ),
        (
            &["--uri", "https://example.com", "--format", "json"],
            "cloudevents",
        ),
        (
            &["--uri", "https://example.com", "--schedule", "5w"],
            "is not a delay",
        ),
        (
            &["--uri", "https://example.com", "--event", "ObjectTransitioned*"],
            "register it by its full name",
        ),
        (
            &["--uri", "https://example.com", "--event", "ObjectsMergedEvent"],
            "No captured row says",
        ),
        (&[], "needs --uri and --event"),
        (
            &["--uri", "https://10.1.2.3"],
            "10.1.2.3 is a private address; where that is meant, add it",
        ),
        (
            &["--uri", "https://example.com", "--header", "X-A: 1"],
            "X-A has no =",
        ),
        (
            &["--uri", "https://example.com", "--auth", "A=@/nowhere"],
            "/nowhere cannot be read",
        ),
    ] {
        let event = if arguments.contains(&"--event") {
            &[][..]
        } else {
            &event[..]
        };
        let (code, _, err) = sidecar()
            .cli(&[&["webhook", "add"], event, arguments].concat())
            .await;
        assert_eq!(code, 2, "{arguments:?}");
        assert!(err.contains(word), "{arguments:?}: {err}");
    }
    let (_, events, _) = sidecar().cli(&["events"]).await;
    for name in [
        r"OCA\OpenRegister\Event\ObjectTransitionedEvent",
        "ObjectsMergedEvent",
    ] {
        assert!(events.contains(name), "{events}");
    }
    for command in [&["webhook", "list"][..], &["run"]] {
        let (code, _, err) = sidecar().without("ORW_MASTER_KEY").cli(command).await;
        assert!(
            code == 2 && err.contains("ORW_MASTER_KEY") && err.contains("openssl rand -base64 32"),
            "{code}: {err}"
        );
    }
    for action in [
        "show",
        "pause",
        "disable",
        "enable",
        "rotate-secret",
        "remove",
        "update",
    ] {
        let (code, _, err) = sidecar().cli(&["webhook", action, "7"]).await;
        assert!(
            code == 1 && err.contains("webhook 7 does not exist; `webhook list`"),
            "{action}: {code}: {err}"
        );
    }
    let (code, out, err) = sidecar().cli(&["webhook", "list"]).await;
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (0, "", "no webhook is registered\n")
    );
}
