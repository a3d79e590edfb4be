//! CloudEvents read by other people's software: the `cloudevents` packages of PyPI (versions 1 and 2) and npm, and the SDK for Rust.

use std::process::Command;

use cloudevents::AttributesReader as _;
use openregister_webhooks::catalogue::{example_of, sample};
use openregister_webhooks::delivery::format::Rendered;
use openregister_webhooks::lifecycle::{EventType, StoredEvent};
use openregister_webhooks::registry::{BodyOptions, DataMode, EventSource, Fields, Format};
use orw_model::EventClass;
use orw_testkit::Generation;
use serde_json::{Value, json};

use super::all_events::{Era, received};
use crate::support::foreign::{node, python, run, script};
use crate::support::skipped::skipped;

/// Each version with the script for it; the package was rewritten for version 2.
const PYPI: [(&str, &str); 2] = [
    ("1.12.0", "read_cloudevents.py"),
    ("2.2.0", "read_cloudevents_2.py"),
];
const NPM: (&str, &str) = ("cloudevents", "10.0.0");

/// The same event in the binary mode of the NL GOV profile.
fn binary(event: &StoredEvent) -> Rendered {
    let Value::Object(nlgov) = json!({"nlgov": {"mode": "binary"}}) else {
        unreachable!("it is an object")
    };
    let source = EventSource {
        oin: Some("00000001823288444000".to_owned()),
        name: Some("openregister".to_owned()),
    };
    let options = BodyOptions::of_request(&Fields::json(nlgov)).unwrap();
    openregister_webhooks::delivery::format::sample(event, (Format::NlGov, DataMode::Full), &options, &source)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cloudevents_are_read_by_the_packages_of_pypi_and_npm() {
    let received = received(Era::Later(Generation::V0_2_13)).await;
    let case = |headers: Value, body: &[u8], event: Value| json!({"headers": headers, "body": std::str::from_utf8(body).unwrap(), "event": event});
    let mut cases: Vec<Value> = received["cloudevents"]
        .iter()
        .map(|request| {
            let headers = json!({"content-type": request.header("content-type")});
            case(headers, &request.body, request.json())
        })
        .collect();
    assert!(cases.len() >= 33);
    let types = EventClass::all().map(EventType::Class).chain([EventType::Gap]);
    for event in types.map(example_of) {
        for format in [Format::CloudEvents, Format::NlGov] {
            let structured = sample(&event, format, DataMode::Full).unwrap();
            let read: Value = serde_json::from_slice(&structured.body).unwrap();
            cases.push(case(
                json!({"content-type": structured.content_type}),
                &structured.body,
                read.clone(),
            ));
            if format == Format::NlGov {
                let binary = binary(&event);
                let mut headers = json!({"content-type": binary.content_type});
                for (name, value) in &binary.headers {
                    headers[name.as_str()] = value.to_str().unwrap().into();
                }
                cases.push(case(headers, &binary.body, read));
            }
        }
    }
    for case in &cases {
        let text = case["event"].to_string();
        let event: cloudevents::Event = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert_eq!(event.id(), case["event"]["id"]);
        assert_eq!(event.ty(), case["event"]["type"]);
        assert_eq!(event.source().as_str(), case["event"]["source"]);
        let again: Value = serde_json::to_value(&event).unwrap();
        assert_eq!(again["data"].to_string(), case["event"]["data"].to_string());
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!(cases).to_string()).unwrap();
    let all = cases.len().to_string();
    for (version, program) in PYPI {
        match python("cloudevents", "", version) {
            Ok(python) => {
                let read = run(Command::new(python).arg(script(program)).arg(file.path()));
                assert_eq!(read.as_ref(), Ok(&all));
            }
            Err(reason) => {
                skipped(
                    &format!("reading CloudEvents with cloudevents {version} of PyPI"),
                    &reason,
                );
            }
        }
    }
    match node(NPM.0, NPM.1) {
        Ok(packages) => {
            let mut node = Command::new("node");
            let read = run(node
                .arg(script("read_cloudevents.mjs"))
                .arg(packages)
                .arg(file.path()));
            assert_eq!(read.as_ref(), Ok(&all));
        }
        Err(reason) => skipped("reading CloudEvents with cloudevents of npm", &reason),
    }
}
