//! CloudEvents read by other people's software: the `cloudevents` packages of PyPI and npm.

use std::process::Command;

use openregister_webhooks::catalogue::example_of;
use openregister_webhooks::delivery::format::sample;
use openregister_webhooks::lifecycle::EventType;
use openregister_webhooks::registry::{DataMode, Format};
use orw_testkit::Generation;
use serde_json::{Value, json};

use super::all_events::{Era, received};
use crate::support::foreign::{node, python, run, script};
use crate::support::skipped::skipped;

const PYPI: (&str, &str) = ("cloudevents", "1.12.0");
const NPM: (&str, &str) = ("cloudevents", "10.0.0");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cloudevents_are_read_by_the_packages_of_pypi_and_npm() {
    let received = received(Era::Later(Generation::V0_2_13)).await;
    let mut cases: Vec<Value> = received["cloudevents"]
        .iter()
        .map(|request| {
            json!({"headers": {"content-type": request.header("content-type")},
                   "body": std::str::from_utf8(&request.body).unwrap()})
        })
        .collect();
    assert!(cases.len() >= 33);
    let gap = sample(&example_of(EventType::Gap), Format::CloudEvents, DataMode::Full);
    cases.push(
        json!({"headers": {"content-type": gap.content_type}, "body": String::from_utf8(gap.body).unwrap()}),
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!(cases).to_string()).unwrap();
    let all = cases.len().to_string();
    match python(PYPI.0, "", PYPI.1) {
        Ok(python) => {
            let read = run(Command::new(python)
                .arg(script("read_cloudevents.py"))
                .arg(file.path()));
            assert_eq!(read.as_ref(), Ok(&all));
        }
        Err(reason) => skipped("reading CloudEvents with cloudevents of PyPI", &reason),
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
