//! Every command on a terminal of 80 columns, in a pipe to `head -1`, and as JSON.
//!
//! The terminal is that of `script` (util-linux). It shows what a person sees: the lines must fit, except what has to be copied whole.

use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;
use unicode_width::UnicodeWidthStr as _;

use crate::support::postgres::Db;
use crate::support::scene::Scene;
use crate::support::sidecar::Sidecar;
use crate::support::skipped::skipped;
use crate::support::wait::{PATIENCE, until};

const COLUMNS: usize = 80;
/// A word that is longer than a line is left whole, so that it can be copied; behind a label of this width at most.
const LABEL: usize = 16;

/// What a command does, beside its arguments.
struct Case {
    arguments: &'static [&'static str],
    code: i32,
    json: bool,
}

const fn case(arguments: &'static [&'static str], code: i32, json: bool) -> Case {
    Case {
        arguments,
        code,
        json,
    }
}

/// Each command with its documented exit code, and whether it has `--json`.
const CASES: [Case; 56] = [
    case(&["--help"], 0, false),
    case(&["webhook", "add", "--help"], 0, false),
    case(&["config", "--help"], 0, false),
    case(&["delivery", "list", "--help"], 0, false),
    case(&["status"], 0, true),
    case(&["doctor"], 0, true),
    case(&["config"], 0, true),
    case(&["events"], 0, true),
    case(&["events", "--example", "ObjectCreatedEvent"], 0, false),
    case(&["events", "--example", "ObjectCreateEvent"], 1, false),
    case(&["webhook", "list"], 0, true),
    case(&["webhook", "show", "1000000000"], 0, true),
    case(&["webhook", "show", "7"], 1, false),
    case(&["webhook", "show", "abc"], 2, false),
    case(&["webhook", "statistics"], 0, true),
    case(&["webhook", "audit"], 0, true),
    case(&["webhook", "test", "1000000000"], 0, true),
    case(&["webhook", "test", "1000000001"], 1, true),
    case(&["webhook", "pause", "1000000001"], 0, true),
    case(
        &["webhook", "add", "--uri", "https://10.1.2.3/", "--event", "*"],
        2,
        false,
    ),
    case(&["delivery", "list"], 0, true),
    case(&["delivery", "list", "--absolute"], 0, false),
    case(&["delivery", "list", "--state", "nonsense"], 2, false),
    case(&["delivery", "show", "1"], 0, true),
    case(&["delivery", "retry", "--all", "--yes"], 0, true),
    case(&["job", "list"], 0, true),
    case(&["job", "list", "--absolute"], 0, false),
    case(&["job", "show", "99"], 1, false),
    case(&["erase", "nope"], 2, false),
    case(&["erase", "0190a5e4-3b7c-7c1e-9f1a-000000000000"], 1, true),
    case(
        &["filter", "check", "{\"user.uid\": {\"$eq\": \"bob\"}}"],
        1,
        true,
    ),
    case(&["nonsense"], 2, false),
    case(&["run", "--listen", "nonsense"], 2, false),
    case(&["demo", "--help"], 0, false),
    case(&["receive", "--secret", "abc"], 2, false),
    case(&["health"], 0, false),
    case(&["adopt", "--deliver"], 1, false),
    case(&["import", "--dry-run"], 1, false),
    case(&["install"], 0, true),
    case(&["rotate-key"], 0, true),
    // It writes files; the tests of the packages read them.
    case(&["man", "--help"], 0, false),
    // What it prints is for a shell.
    case(&["completions", "--help"], 0, false),
    // These ask; other tests answer.
    case(&["hash-password", "--help"], 0, false),
    case(&["filter", "eval", "--help"], 0, false),
    case(&["uninstall", "--help"], 0, false),
    case(&["replay", "--webhook", "1000000000", "--since", "1h"], 0, true),
    case(&["backfill", "--webhook", "1000000000"], 0, true),
    case(&["job", "show", "1"], 0, true),
    case(&["job", "cancel", "1"], 1, true),
    case(&["webhook", "update", "1000000001", "--timeout", "20"], 0, true),
    case(&["webhook", "rotate-secret", "1000000001"], 0, true),
    case(&["webhook", "disable", "1000000001"], 0, true),
    case(&["webhook", "enable", "1000000001"], 0, true),
    case(&["webhook", "resume", "1000000001"], 0, true),
    case(&["delivery", "retry", "1"], 1, false),
    case(&["webhook", "remove", "7"], 1, false),
];

/// Without the sequences that choose colours.
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |whole, part| {
        whole + part.split_once('m').map_or(part, |(_, rest)| rest)
    })
}

/// A command in a terminal of 80 columns and 24 lines; what it shows, and its exit code.
async fn on_terminal(sidecar: &Sidecar, arguments: &[&str], pager: &str) -> Option<(String, i32)> {
    let quoted: Vec<String> = arguments.iter().map(|one| format!("'{one}'")).collect();
    let program = env!("CARGO_BIN_EXE_openregister-webhooks");
    let line = format!("stty cols {COLUMNS} rows 24; '{program}' {}", quoted.join(" "));
    let shown = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env_clear()
        .envs(sidecar.settings().iter().map(|(name, value)| (name, value)))
        .env("PATH", std::env::var("PATH").unwrap())
        .env("TERM", "xterm")
        .env("PAGER", pager)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(PATIENCE, shown)
        .await
        .expect("it does not end")
    {
        Ok(done) => Some((
            plain(&String::from_utf8_lossy(&done.stdout).replace('\r', "")),
            done.status.code().unwrap_or(-1),
        )),
        Err(error) => {
            skipped(
                "commands on a terminal of 80 columns",
                &format!("script (util-linux): {error}"),
            );
            None
        }
    }
}

fn too_wide(text: &str) -> Option<&str> {
    // A body is printed as it is sent, in one line.
    let alone = |line: &str| {
        line.starts_with('{')
            || !line.trim().contains(' ')
            || !line.get(LABEL..).unwrap_or_default().trim().contains(' ')
    };
    text.lines().find(|line| line.width() > COLUMNS && !alone(line))
}

#[test]
fn every_command_is_in_the_cases() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md")).unwrap();
    let named: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert!(named.len() > 40, "{named:?}");
    let missing = named.iter().filter(|command| {
        let words: Vec<&str> = command.split(' ').collect();
        !CASES.iter().any(|case| case.arguments.starts_with(&words))
    });
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&&str>::new());
}

async fn scene() -> Scene {
    let scene = Scene::on(Db::openregister_0_2_13().await).running().await;
    let event = r"OCA\OpenRegister\Event\Object*";
    scene.register(event, json!({})).await;
    let away =
        json!({"uri": "https://127.0.0.1:1/a/long/path/of/a/receiver/that/does/not/listen/anywhere/at/all"});
    scene.register(event, away).await;
    scene.objects(1, 30).await;
    scene.receiver.wait_for(30, PATIENCE).await.unwrap();
    until("an attempt failed", async || {
        let list = scene
            .sidecar
            .json(&["delivery", "list", "--state", "retrying", "--json"])
            .await;
        !list["deliveries"].as_array().unwrap().is_empty()
    })
    .await;
    let replay = [
        "replay",
        "--webhook",
        "1000000000",
        "--since",
        "1h",
        "--background",
        "--json",
    ];
    scene.sidecar.json(&replay).await;
    until("the replay has ended", async || {
        scene.sidecar.json(&["job", "show", "1", "--json"]).await["state"] == "done"
    })
    .await;
    scene
}

#[tokio::test]
async fn at_80_columns_in_a_pipe_and_as_json_every_command_is_readable() {
    let mut scene = scene().await;
    let mut wrong = Vec::new();
    let program = env!("CARGO_BIN_EXE_openregister-webhooks");
    for Case {
        arguments,
        code,
        json,
    } in CASES
    {
        let name = arguments.join(" ");
        if let Some((shown, exit)) = on_terminal(&scene.sidecar, arguments, "cat").await
            && (exit != code || too_wide(&shown).is_some())
        {
            wrong.push(format!("{name}: {exit}, {:?}: {shown}", too_wide(&shown)));
        }
        // In a pipe nothing is coloured, and a reader that has seen enough is no failure.
        let quoted: Vec<String> = arguments.iter().map(|one| format!("'{one}'")).collect();
        let head = format!(
            "'{program}' {} | head -1; echo \"${{PIPESTATUS[0]}}\"",
            quoted.join(" ")
        );
        let done = Command::new("bash")
            .args(["-c", &head])
            .env_clear()
            .envs(scene.sidecar.settings().iter().map(|(name, value)| (name, value)))
            .env("PATH", std::env::var("PATH").unwrap())
            .output()
            .await
            .unwrap();
        let said = String::from_utf8(done.stdout).unwrap();
        let ended = said.lines().last() == Some(code.to_string().as_str());
        let err = String::from_utf8_lossy(&done.stderr);
        if !ended || said.contains('\u{1b}') || err.contains("panic") {
            wrong.push(format!("{name} | head -1: {said}{err}"));
        }
        if json {
            let (exit, out, err) = scene.sidecar.cli(&[arguments, &["--json"]].concat()).await;
            let parsed = serde_json::from_str::<serde_json::Value>(&out);
            if exit != code || parsed.is_err() {
                wrong.push(format!("{name} --json: {exit}, {:?}: {out}{err}", parsed.err()));
            }
        }
    }
    scene.sidecar.terminate().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[tokio::test]
async fn only_a_long_result_on_a_terminal_is_shown_by_the_pager() {
    let program =
        Sidecar::new("postgres://nobody@127.0.0.1:1/none", std::path::Path::new("")).without("ORW_CA_FILE");
    let pager = "sed 's/^/PAGED /'";
    let Some((long, code)) = on_terminal(&program, &["events"], pager).await else {
        return;
    };
    assert!(
        code == 0 && long.lines().all(|line| line.starts_with("PAGED ")),
        "{long}"
    );
    let (short, _) = on_terminal(&program, &["filter", "check", "{}"], pager)
        .await
        .unwrap();
    assert!(!short.contains("PAGED"), "{short}");
    for none in ["", "cat", "no-such-pager-here"] {
        let (plain, code) = on_terminal(&program, &["events"], none).await.unwrap();
        assert!(
            code == 0 && plain.contains("ObjectCreatedEvent") && !plain.contains("PAGED"),
            "{none}: {plain}"
        );
    }
    let (code, piped, _) = program
        .with("PAGER", pager)
        .with("TERM", "xterm")
        .cli(&["events"])
        .await;
    assert!(code == 0 && !piped.contains("PAGED"), "{piped}");
}
