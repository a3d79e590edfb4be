//! `delivery list`, `show` and `retry` say and do the same as the API.

use serde_json::{Value, json};

use super::delivered::Delivered;
use crate::support::receiver::Answer;
use crate::support::scene::uuid;

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_shows_and_retries_the_same() {
    let this = Delivered::new().await;
    let cli = async |arguments: &[&str]| this.scene.sidecar.cli(arguments).await;
    let (good, bad) = (this.good.to_string(), this.bad.to_string());
    let listed = this
        .scene
        .json(&[
            "delivery",
            "list",
            "--webhook",
            &bad,
            "--state",
            "given_up",
            "--json",
        ])
        .await;
    assert_eq!(
        listed["deliveries"],
        json!(this.list(&format!("webhook={bad}")).await)
    );
    assert_eq!(listed["before"], Value::Null);

    let (code, out, _) = cli(&[
        "delivery",
        "list",
        "--webhook",
        &bad,
        "--class",
        "ObjectUpdatedEvent",
        "--since",
        "1h",
    ])
    .await;
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((code, lines.len()), (0, 2), "{out}");
    let headers: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(
        headers,
        [
            "ID", "AGE", "STATE", "WEBHOOK", "EVENT", "OBJECT", "TRIES", "RESULT"
        ]
    );
    for part in [
        "given_up",
        &bad,
        "ObjectUpdatedEvent",
        &uuid(1),
        "  1  status 507",
    ] {
        assert!(lines[1].contains(part), "{part}: {out}");
    }
    let (code, out, err) = cli(&["delivery", "list", "--webhook", &good, "--limit", "3"]).await;
    assert!(
        code == 0 && out.lines().count() == 4 && out.lines().skip(1).all(|line| line.contains("succeeded")),
        "{out}"
    );
    let before = err.split("--before ").nth(1).unwrap().trim().to_owned();
    let (code, out, err) = cli(&[
        "delivery",
        "list",
        "--webhook",
        &good,
        "--limit",
        "3",
        "--before",
        &before,
    ])
    .await;
    assert!(
        code == 0 && out.lines().count() == 2 && !err.contains("--before"),
        "{out}{err}"
    );
    let (code, out, _) = cli(&["delivery", "list", "--webhook", "7"]).await;
    assert_eq!((code, out.as_str()), (0, ""));
    // One object's: the log by its index, the queue by a scan; the API gives the same.
    let of_one = this
        .scene
        .json(&["delivery", "list", "--object", &uuid(1), "--json"])
        .await;
    let of_one = of_one["deliveries"].as_array().unwrap();
    assert_eq!(of_one.len(), 4, "{of_one:?}");
    assert!(
        of_one
            .iter()
            .all(|one| one["lane"] == format!("object:{}", uuid(1)))
    );
    assert_eq!(of_one, &this.list(&format!("object={}", uuid(1))).await);
    for wrong in [
        &["--state", "lost"][..],
        &["--class", "NoSuchEvent"],
        &["--since", "soon"],
        &["--limit", "0"],
        &["--limit", "501"],
        &["--webhook", "abc"],
    ] {
        let (code, _, err) = cli(&[&["delivery", "list"], wrong].concat()).await;
        assert!(
            code == 2 && err.contains(wrong[0]) && err.contains(wrong[1]),
            "{wrong:?}: {code} {err}"
        );
    }

    let one = &listed["deliveries"][0];
    let id = one["id"].to_string();
    let (code, out, _) = cli(&["delivery", "show", &id]).await;
    assert!(
        code == 0 && out.contains("given_up") && out.contains("  1. ") && out.contains(" 507"),
        "{out}"
    );
    // Control characters in a receiver's answer have no effect.
    assert!(
        out.contains(r"no room \u{1b}[2J") && !out.contains('\u{1b}'),
        "{out:?}"
    );
    let shown = this.scene.json(&["delivery", "show", &id, "--json"]).await;
    assert_eq!(
        (&shown["delivery"], shown["attempts"].as_array().unwrap().len()),
        (one, 1)
    );
    for arguments in [["delivery", "show", "999999"], ["delivery", "retry", "999999"]] {
        let (code, out, err) = cli(&arguments).await;
        assert!(
            code == 1 && out.is_empty() && err.contains("delivery 999999 does not exist"),
            "{code} {err}"
        );
    }
    let (code, _, err) = cli(&["delivery", "retry", "--all", "--webhook", "7"]).await;
    assert!(
        code == 1 && err.contains("webhook 7 does not exist"),
        "{code} {err}"
    );
    assert_eq!(cli(&["delivery", "retry"]).await.0, 2);
    assert_eq!(cli(&["delivery", "retry", &id, "--webhook", &bad]).await.0, 2);

    this.scene.receiver.always(Answer::Status(200));
    let (code, out, _) = cli(&["delivery", "retry", &id]).await;
    assert_eq!(
        (code, out),
        (0, format!("1 put back into the queue of webhook {bad}\n"))
    );
    let (code, out, err) = cli(&["delivery", "retry", &id]).await;
    assert!(
        code == 1 && out.is_empty() && err.contains("nothing to retry"),
        "{code} {out} {err}"
    );
    let (code, out, _) = cli(&["delivery", "retry", &id, "--json"]).await;
    assert_eq!(
        (
            code,
            serde_json::from_str::<Value>(&out).unwrap()["retried"].clone()
        ),
        (1, json!(0))
    );
    // Without a terminal nobody is asked.
    let rest = this.scene.json(&["delivery", "retry", "--all", "--json"]).await;
    assert_eq!(
        rest,
        json!({"retried": 3, "webhooks": [{"webhook": this.good, "retried": 0}, {"webhook": this.bad, "retried": 3}]})
    );
    this.scene.settled().await;
    assert_eq!(
        this.list(&format!("webhook={bad}&state=succeeded")).await.len(),
        4
    );
    let (code, out, _) = cli(&["delivery", "retry", "--webhook", &bad]).await;
    assert!(code == 0 && out.contains("nothing to retry"), "{code} {out}");
}
