//! Text from others in output for people: commands, the receiver and the log show it, and its control characters have no effect.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::support::api::installed;
use crate::support::postgres::{DBA, NEXTCLOUD};
use crate::support::receiver::{Answer, https};
use crate::support::sidecar::{Sidecar, free_port};
use crate::support::wait::until_contains;

/// Clears the screen, in seven bits and in eight, turns the reading order, and begins a line of its own.
const HOSTILE: &str = "a\u{1b}[2J\u{9b}2J\u{202e}\u{2066}\u{200f}\u{61c}\r\nFORGED";
/// The same, where control characters are refused.
const TURNED: &str = "X\u{202e}\u{2066}(TURNED)";
const PATIENCE: Duration = Duration::from_secs(60);

fn acts(c: char) -> bool {
    let bidi = ['\u{61c}', '\u{200e}', '\u{200f}'].contains(&c)
        || ('\u{202a}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c);
    bidi || (c.is_control() && c != '\n')
}

fn check(what: &str, text: &str) {
    assert!(!text.chars().any(acts), "{what}: {text:?}");
    assert!(
        !text.lines().any(|line| line.starts_with("FORGED")),
        "{what}: {text:?}"
    );
}

/// Runs a command in its form for people and, if it has one, as JSON; returns the form for people.
async fn said(sidecar: &Sidecar, arguments: &[&str]) -> String {
    let (_, out, err) = sidecar.cli(arguments).await;
    let said = format!("{out}{err}");
    check(&arguments.join(" "), &said);
    said
}

/// The same as JSON, which holds the text as it is.
async fn told(sidecar: &Sidecar, arguments: &[&str]) -> String {
    let (_, out, err) = sidecar.cli(&[arguments, &["--json"]].concat()).await;
    check(&arguments.join(" "), &format!("{out}{err}"));
    let value: Value =
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {out}{err}"));
    value.to_string()
}

#[tokio::test]
async fn text_of_others_acts_on_no_terminal() {
    let db = installed().await;
    let receiver = https().await;
    let folder = tempfile::tempdir().unwrap();
    let (ca, log) = (folder.path().join("ca.pem"), folder.path().join("log"));
    std::fs::write(&ca, receiver.ca_pem()).unwrap();
    receiver.always(Answer::Full {
        status: 500,
        headers: Vec::new(),
        body: HOSTILE.into(),
    });
    // A stranger's relation in our schema is named by doctor and log.
    let role = db.role("evil").await;
    let grant = format!("GRANT USAGE, CREATE ON SCHEMA openregister_webhooks TO \"{role}\"");
    db.client_as(DBA).await.batch_execute(&grant).await.unwrap();
    let relation = format!("CREATE VIEW openregister_webhooks.\"{HOSTILE}\" AS SELECT 1");
    db.client_as(&role).await.batch_execute(&relation).await.unwrap();

    let mut sidecar = Sidecar::new(&db.url(NEXTCLOUD), &ca)
        .with("USER", HOSTILE)
        .with("ORW_LOG", "debug")
        .logging_to(&log);
    sidecar.start().await;
    let id = sidecar
        .register(json!({"uri": receiver.url("/hook"), "event": "*"}))
        .await;
    let odd =
        json!({"uri": receiver.url("/odd"), "event": "*", "userIdFilter": HOSTILE, "headers": {TURNED: "1"}});
    let odd = sidecar.register(odd).await.to_string();
    let client = db.client().await;
    let object =
        "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _name) VALUES ($1, '1', '1', $1)";
    client.execute(object, &[&HOSTILE]).await.unwrap();
    receiver.wait_for(1, PATIENCE).await.unwrap();
    let webhook = id.to_string();
    let delivery = {
        let begun = Instant::now();
        loop {
            let list = told(&sidecar, &["delivery", "list"]).await;
            let list: Value = serde_json::from_str(&list).unwrap();
            let list = list.as_array().or_else(|| list["deliveries"].as_array()).unwrap();
            let tried = list.iter().find(|one| one["attempts"].as_i64() > Some(0));
            if let Some(tried) = tried {
                break tried["id"].to_string();
            }
            assert!(begun.elapsed() < PATIENCE, "{list:?}");
        }
    };
    // What each command shows of it, for people and as JSON.
    let hostile = serde_json::to_string(HOSTILE).unwrap();
    for (arguments, shown) in [
        (vec!["delivery", "list"], r"\nFORGED"),
        (vec!["delivery", "show", &delivery], r"\nFORGED"),
        (vec!["webhook", "show", &odd], "(TURNED)"),
        (vec!["webhook", "list"], ""),
        (vec!["webhook", "test", &webhook], r"\nFORGED"),
        (vec!["webhook", "disable", &webhook, "--reason", HOSTILE], ""),
        (vec!["webhook", "show", &webhook], r"\nFORGED"),
        (vec!["webhook", "enable", &webhook], ""),
        (vec!["webhook", "audit"], r"\nFORGED"),
        (vec!["webhook", "statistics"], ""),
        (vec!["webhook", "rotate-secret", &webhook], ""),
        (vec!["webhook", "pause", &webhook], ""),
        (vec!["delivery", "retry", &delivery], ""),
        (
            vec![
                "replay",
                "--webhook",
                &webhook,
                "--since",
                "1h",
                "--object",
                HOSTILE,
                "--background",
            ],
            "",
        ),
        (vec!["backfill", "--webhook", &webhook, "--background"], ""),
        (vec!["job", "list"], ""),
        (vec!["doctor"], r"\nFORGED"),
        (vec!["config"], ""),
        (vec!["erase", HOSTILE], ""),
        (vec!["rotate-key"], ""),
        (vec!["adopt", "--deliver", "--wait", "1"], ""),
    ] {
        let people = said(&sidecar, &arguments).await;
        assert!(people.contains(shown), "{arguments:?}: {people}");
        // Refused the second time, or here at all: there is no JSON of that.
        if ["adopt", "replay", "backfill", "erase"].contains(&arguments[0])
            || arguments.get(1) == Some(&"retry")
        {
            continue;
        }
        let value = told(&sidecar, &arguments).await;
        if shown == r"\nFORGED" && arguments.get(1) == Some(&"show") {
            assert!(
                value.contains(&hostile[1..hostile.len() - 1]),
                "{arguments:?}: {value}"
            );
        }
    }
    // What is refused, and why.
    let filter = json!({ HOSTILE: {"$nope": HOSTILE} }).to_string();
    for (arguments, shown) in [
        (vec!["filter", "check", &filter], "FORGED"),
        (vec!["events", "--example", HOSTILE], "FORGED"),
        (vec!["webhook", "add", "--uri", HOSTILE, "--event", "*"], ""),
        (
            vec![
                "webhook",
                "add",
                "--uri",
                "https://example.org/",
                "--event",
                HOSTILE,
            ],
            "FORGED",
        ),
        (vec!["install", "--runtime-role", HOSTILE], "FORGED"),
        (vec!["backfill", "--register", HOSTILE, "--background"], ""),
        (vec!["events"], ""),
        (vec!["events", "--markdown"], ""),
        (vec!["uninstall", "--yes"], ""),
    ] {
        let people = said(&sidecar, &arguments).await;
        assert!(people.contains(shown), "{arguments:?}: {people}");
    }
    let shown = until_contains(&log, r"\nFORGED").await;
    assert!(shown.contains("(TURNED)"), "{shown}");
    check("the log", &shown);
    sidecar.terminate().await;
}

#[tokio::test]
async fn a_log_in_json_acts_on_no_terminal() {
    let db = installed().await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut sidecar = Sidecar::new(&db.url(NEXTCLOUD), Path::new(""))
        .without("ORW_CA_FILE")
        .with("ORW_LOG_FORMAT", "json")
        .logging_to(&log);
    sidecar.start().await;
    let odd = json!({"uri": "https://example.org/", "event": "*", "headers": {TURNED: "1"}});
    sidecar.register(odd).await;
    let text = until_contains(&log, "(TURNED)").await;
    check("the log", &text);
    let line = text.lines().find(|line| line.contains("(TURNED)")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["header"], TURNED);
    sidecar.terminate().await;
}

#[tokio::test]
async fn the_receiver_shows_what_it_gets_and_no_more() {
    let address = free_port();
    let mut child = Command::new(env!("CARGO_BIN_EXE_openregister-webhooks"))
        .args(["receive", "--port", &address.port().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut shown = BufReader::new(child.stdout.take().unwrap()).lines();
    let reading = async {
        while !said.next_line().await.unwrap().unwrap().starts_with("stop with") {}
        let body = json!({"event": HOSTILE, "x": HOSTILE}).to_string();
        // Once as JSON, and once as it would be without.
        for body in [body, format!("{HOSTILE}\nEND")] {
            let mut request = format!(
                "POST /hook HTTP/1.1\r\nHost: c\r\nContent-Length: {}\r\nConnection: close\r\nwebhook-id: ",
                body.len()
            )
            .into_bytes();
            request.extend(b"\xc2\x9b2J\r\n\r\n");
            request.extend(body.as_bytes());
            crate::proxy::exchange_bytes(address, &request).await;
        }
        let mut all = String::new();
        while !all.contains("END") {
            all.push_str(&shown.next_line().await.unwrap().unwrap());
            all.push('\n');
        }
        all
    };
    let all = tokio::time::timeout(PATIENCE, reading).await.unwrap();
    check("receive", &all);
    assert!(all.contains(r"\nFORGED") && all.contains(r"\u202e"), "{all}");
}

/// Errors of the command line print control characters without effect, too.
#[tokio::test]
async fn a_mistake_in_the_command_line_is_repeated_escaped() {
    let program = env!("CARGO_BIN_EXE_openregister-webhooks");
    for arguments in [
        ["filter", "a\u{1b}[2J\u{9b}2J\u{202e}"],
        ["events", "--a\u{1b}[2J\u{9b}2J\u{202e}"],
    ] {
        let said = Command::new(program).args(arguments).output().await.unwrap();
        assert_eq!(said.status.code(), Some(2));
        let said = String::from_utf8(said.stderr).unwrap();
        check("a mistake", &said);
        assert!(said.contains("\\u{202e}"), "{said}");
    }
}
