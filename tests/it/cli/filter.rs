//! `filter eval` and `filter check` of the built program.
//!
//! `filter-cases.ndjson` holds results of Nextcloud's own filter code (the lines whose document is a number, a place in
//! `filter-documents.json`) and of PHP's operators.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use orw_testkit::Generation;
use serde_json::{Value, json};

use crate::support::postgres::Db;
use crate::support::scene::Scene;

fn program(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_openregister-webhooks"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // The program may stop reading early.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn answers(output: &Output) -> Vec<Value> {
    String::from_utf8(output.stdout.clone())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn recorded_cases_come_out_the_same() {
    let documents: Vec<Value> =
        serde_json::from_str(include_str!("../../fixtures/filter-documents.json")).unwrap();
    let cases: Vec<Value> = include_str!("../../fixtures/filter-cases.ndjson")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(cases.len() > 300);
    let input: String = cases
        .iter()
        .map(|case| {
            let document = case["document"].as_u64().map_or(&case["document"], |place| {
                &documents[usize::try_from(place).unwrap()]
            });
            format!("{}\n", json!({"filter": case["filter"], "document": document}))
        })
        .collect();
    let output = program(&["filter", "eval"], input.as_bytes());
    assert!(output.status.success());
    let answers = answers(&output);
    assert_eq!(answers.len(), cases.len());
    for (case, answer) in cases.iter().zip(&answers) {
        match case.get("result") {
            Some(result) => assert_eq!(answer, &json!({"result": result}), "{case}"),
            None => assert!(answer["error"].is_string(), "{case}: {answer}"),
        }
    }
}

#[test]
fn a_bad_line_is_answered_and_the_next_is_read() {
    let deep = format!(
        "{{\"filter\": {}1{}, \"document\": {{}}}}",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let long = format!("\"{}\"", "x".repeat(33 * 1024 * 1024));
    let lines = [
        "not json",
        "",
        "{\"filter\": {}}",
        "{\"filter\": {}, \"document\": 5}",
        &deep,
        &long,
        "\u{0}",
        "{\"filter\": {\"a\": 1}, \"document\": {\"a\": 1}}",
    ];
    let mut input = lines.join("\n").into_bytes();
    input.extend(b"\n\xff\xfe\n{\"filter\": null, \"document\": {}}");
    let output = program(&["filter", "eval"], &input);
    assert!(output.status.success());
    let answers = answers(&output);
    assert_eq!(answers.len(), 10);
    for (place, part) in [
        (0, "not JSON"),
        (1, "not JSON"),
        (2, "no \"document\""),
        (3, "needs an object"),
        (4, "nested deeper than 128 levels"),
        (5, "longer than"),
        (6, "not JSON"),
        (8, "not JSON"),
    ] {
        assert!(
            answers[place]["error"].as_str().unwrap().contains(part),
            "{}",
            answers[place]
        );
    }
    assert_eq!(answers[7], json!({"result": true}));
    assert_eq!(answers[9], json!({"result": true}));
}

#[test]
fn one_filter_is_tried_on_many_documents() {
    let output = program(
        &["filter", "eval", "--filter", "{\"user.uid\": \"bob\"}"],
        b"{\"user\": {\"uid\": \"bob\"}}\n{\"user\": null}\n",
    );
    assert_eq!(
        answers(&output),
        [json!({"result": true}), json!({"result": false})]
    );
}

#[test]
fn hostile_filters_are_answered_quickly() {
    let many: Vec<_> = (0..100_000).map(|n| format!("uid{n}")).collect();
    let numbers: Vec<_> = (0..100_000).map(|n| n * 2).collect();
    let big: Vec<_> = (0..20_000)
        .map(|n| json!({"user.uid": format!("somebody else {n:020}")}))
        .collect();
    assert!(json!(big).to_string().len() > 1_000_000);
    let text = "a".repeat(100_000) + "!";
    for (filter, document, expected) in [
        (
            json!({"a": "/(a+)+$/"}),
            json!({"a": text}),
            json!({"result": false}),
        ),
        (
            json!({"a": {"$in": many}}),
            json!({"a": "uid99999"}),
            json!({"result": true}),
        ),
        (
            json!({"a": {"$in": numbers}}),
            json!({"a": "199999"}),
            json!({"result": false}),
        ),
        (
            json!({"$or": big}),
            json!({"user": {"uid": "bob"}}),
            json!({"result": false}),
        ),
    ] {
        let line = json!({"filter": filter, "document": document}).to_string();
        let start = Instant::now();
        let output = program(&["filter", "eval"], line.as_bytes());
        assert_eq!(answers(&output), [expected]);
        // A debug build on a busy machine; the figures are in docs/filters.md.
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
}

/// Filters that registration refuses, and one that is unusual but legal; `filter check` decides alike.
#[tokio::test]
async fn hostile_filters_are_refused_at_registration() {
    let db = Db::openregister(Generation::V0_2_13).await;
    let mut scene = Scene::on(db).running().await;
    let (receiver, sidecar) = (&scene.receiver, &mut scene.sidecar);

    let uids: Vec<_> = (0..100_000).map(|n| format!("uid{n}")).collect();
    let big: Vec<_> = (0..20_000)
        .map(|n| json!({"user.uid": format!("somebody else {n:020}")}))
        .collect();
    let nested = |depth: usize| format!("{}{{}}{}", "{\"$not\":".repeat(depth), "}".repeat(depth));
    let long = json!({"user.uid": {"$in": uids[..10_000]}});
    for (name, filter, status, part) in [
        (
            "100,000 elements",
            json!({"user.uid": {"$in": uids}}).to_string(),
            413,
            "1048576 bytes",
        ),
        (
            "1 MB",
            json!({"$or": big}).to_string(),
            400,
            "at most 65536 bytes",
        ),
        ("10,000 elements", long.to_string(), 400, "at most 65536 bytes"),
        ("10,000 levels", nested(10_000), 400, "recursion limit"),
        ("200 levels", nested(200), 400, "recursion limit"),
        ("a runaway", json!({"user.uid": "/(a+)+$/"}).to_string(), 200, ""),
    ] {
        let body = format!(
            "{{\"httpMethod\": \"POST\", \"uri\": \"{}\", \"event\": \"OCA\\\\OpenRegister\\\\Event\\\\ObjectCreatedEvent\", \
             \"eventFilter\": {filter}}}",
            receiver.url("/")
        );
        let path = "/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks?format=json";
        let reply = sidecar.api_text("POST", path, body).await;
        assert_eq!(reply.status, status, "{name}: {}", reply.body);
        let message = reply.json()["ocs"]["meta"]["message"].to_string();
        assert!(message.contains(part), "{name}: {message}");
        let check = program(&["filter", "check"], filter.as_bytes());
        let said = String::from_utf8(check.stdout).unwrap();
        println!("{name}: {status} {message}; {said}");
        assert_eq!(check.status.success(), status == 200, "{name}: {said}");
        assert_eq!(
            said.starts_with("refused: filter: "),
            status != 200,
            "{name}: {said}"
        );
    }
    assert_eq!(sidecar.terminate().await, Some(0));
}

#[test]
fn check_says_what_registration_would() {
    let ok = program(&["filter", "check", "{\"user.uid\": \"bob\"}"], b"");
    assert!(ok.status.success());
    assert_eq!(String::from_utf8(ok.stdout).unwrap(), "OK\n");

    let warned = program(&["filter", "check"], b"{\"object.register\": \"people\"}");
    assert!(warned.status.success());
    let text = String::from_utf8(warned.stdout).unwrap();
    assert!(text.starts_with("OK\nwarning: object.register: "), "{text}");
    assert!(text.contains("did you mean event.object.register?"), "{text}");

    let refused = program(
        &["filter", "check", "--json", "{\"$or\": [{\"a\": {\"$eq\": 1}}]}"],
        b"",
    );
    assert_eq!(refused.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(answer["ok"], json!(false));
    assert_eq!(answer["place"], json!("$or[0].a.$eq"));

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("filter.json");
    std::fs::write(&path, "{\"a\": ").unwrap();
    let broken = program(&["filter", "check", "--file", path.to_str().unwrap()], b"");
    assert_eq!(broken.status.code(), Some(1));
    assert!(
        String::from_utf8(broken.stdout)
            .unwrap()
            .starts_with("refused: filter: not JSON")
    );
}
