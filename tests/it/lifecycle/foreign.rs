//! CloudEvents read by other people's software: the `cloudevents` packages of PyPI and npm.
//!
//! The packages are installed once, in `foreign` below the directory that cargo gives tests. Without Python or Node.js, or if the
//! registry cannot be reached, that part is skipped and says so.

use std::path::{Path, PathBuf};
use std::process::Command;

use openregister_webhooks::catalogue::example_of;
use openregister_webhooks::delivery::format::sample;
use openregister_webhooks::lifecycle::EventType;
use openregister_webhooks::registry::{DataMode, Format};
use orw_testkit::Generation;
use serde_json::{Value, json};

use super::all_events::{Era, received};
use crate::support::skipped::skipped;

const PYPI: &str = "cloudevents==1.12.0";
const NPM: &str = "cloudevents@10.0.0";

/// The output of a program that succeeds.
fn run(command: &mut Command) -> Result<String, String> {
    let done = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if done.status.success() {
        Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&done.stderr)))
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("foreign").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/foreign")
        .join(name)
}

/// A Python that has the package.
fn python() -> Result<PathBuf, String> {
    let venv = folder("python");
    let python = venv.join("bin/python");
    let version = "import importlib.metadata as m; assert 'cloudevents==' + m.version('cloudevents') == ";
    let check = format!("{version}'{PYPI}'");
    if run(Command::new(&python).args(["-c", &check])).is_err() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        run(Command::new(&python).args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--retries",
            "1",
            "--timeout",
            "20",
            PYPI,
        ]))?;
    }
    Ok(python)
}

/// A folder that has the package.
fn node() -> Result<PathBuf, String> {
    let packages = folder("node");
    let manifest = packages.join("node_modules/cloudevents/package.json");
    let wanted = format!("\"version\": \"{}\"", NPM.rsplit('@').next().unwrap());
    if !std::fs::read_to_string(manifest).is_ok_and(|text| text.contains(&wanted)) {
        run(Command::new("npm")
            .args([
                "install",
                "--no-audit",
                "--no-fund",
                "--silent",
                "--ignore-scripts",
                "--fetch-retries",
                "1",
                NPM,
            ])
            .arg("--prefix")
            .arg(&packages))?;
    }
    run(Command::new("node").arg("--version"))?;
    Ok(packages)
}

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
    match python() {
        Ok(python) => {
            let read = run(Command::new(python)
                .arg(script("read_cloudevents.py"))
                .arg(file.path()));
            assert_eq!(read.as_ref(), Ok(&all));
        }
        Err(reason) => skipped(&format!("reading CloudEvents with {PYPI} of PyPI"), &reason),
    }
    match node() {
        Ok(packages) => {
            let mut node = Command::new("node");
            let read = run(node
                .arg(script("read_cloudevents.mjs"))
                .arg(packages)
                .arg(file.path()));
            assert_eq!(read.as_ref(), Ok(&all));
        }
        Err(reason) => skipped(&format!("reading CloudEvents with {NPM} of npm"), &reason),
    }
}
