//! A real Prometheus on a loopback port, and its `promtool`; both end when they are dropped.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tempfile::TempDir;

use super::sidecar::{free_port, get};
use super::skipped::skipped;
use super::wait::until;

/// Where packages put it.
const PLACES: [&str; 2] = ["/usr/bin", "/usr/local/bin"];

/// A program of the package; without it, what was to be tested is reported as skipped.
fn program(name: &str, what: &str) -> Option<PathBuf> {
    let found = PLACES
        .iter()
        .map(|place| Path::new(place).join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        let why = format!("{name} is not installed; run: sudo apt-get install -y prometheus");
        // Where `make test` could install it, it must be there.
        assert!(
            std::env::var_os("ORW_TEST_PROMETHEUS").is_none_or(|v| v != "required"),
            "{why}"
        );
        skipped(what, &why);
    }
    found
}

/// Runs `promtool` with this standard input; what it says if it fails. `None` if there is none.
pub(crate) fn promtool(what: &str, arguments: &[&str], input: &str) -> Option<Result<(), String>> {
    let mut command = Command::new(program("promtool", what)?);
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.args(arguments).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    Some(done.status.success().then_some(()).ok_or(said))
}

/// A running Prometheus.
pub(crate) struct Prometheus {
    process: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Prometheus {
    /// Scrapes these addresses every half second, and evaluates these rules as often. `None`, and a report, if it is not installed.
    pub(crate) async fn start(what: &str, targets: &[SocketAddr], rules: Option<&str>) -> Option<Self> {
        let program = program("prometheus", what)?;
        let (folder, address) = (tempfile::tempdir().unwrap(), free_port());
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let mut config =
            "global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}\n"
                .to_owned();
        if let Some(rules) = rules {
            writeln!(config, "rule_files: [{}]", file("rules.yaml", rules).display()).unwrap();
        }
        let targets: Vec<String> = targets.iter().map(|target| format!("'{target}'")).collect();
        writeln!(
            config,
            "scrape_configs: [{{job_name: openregister-webhooks, static_configs: [{{targets: [{}]}}]}}]",
            targets.join(", ")
        )
        .unwrap();
        let config = file("prometheus.yaml", &config);
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .args(["--log.level=warn"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut this = Self {
            process,
            address,
            folder,
        };
        until("Prometheus is ready", async || {
            if let Some(ended) = this.process.try_wait().unwrap() {
                let log = std::fs::read_to_string(this.folder.path().join("log")).unwrap();
                panic!("prometheus ended: {ended}: {log}");
            }
            get(this.address, "/-/ready")
                .await
                .is_ok_and(|reply| reply.status == 200)
        })
        .await;
        Some(this)
    }

    /// The series of an instant query, each with its labels and value; an error that Prometheus answers fails the test.
    pub(crate) async fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let path = format!(
            "/api/v1/query?query={}",
            utf8_percent_encode(query, NON_ALPHANUMERIC)
        );
        let reply = get(self.address, &path).await.unwrap();
        assert_eq!(reply.status, 200, "{query}: {}", reply.body);
        let result = reply.json()["data"]["result"].clone();
        let series = result
            .as_array()
            .unwrap_or_else(|| panic!("{query}: {}", reply.body));
        let value = |one: &Value| one["value"][1].as_str().unwrap().parse().unwrap();
        series
            .iter()
            .map(|one| (one["metric"].clone(), value(one)))
            .collect()
    }

    /// The alerts that fire now, each with its labels.
    pub(crate) async fn firing(&self) -> Vec<Value> {
        let reply = get(self.address, "/api/v1/alerts").await.unwrap();
        let alerts = reply.json()["data"]["alerts"].as_array().unwrap().clone();
        let firing = alerts.into_iter().filter(|alert| alert["state"] == "firing");
        firing.map(|alert| alert["labels"].clone()).collect()
    }

    /// Waits until an alert of this name fires whose labels include these.
    pub(crate) async fn until_fires(&self, name: &str, labels: &[(&str, &str)]) {
        until(&format!("{name} {labels:?} fires"), async || {
            let firing = self.firing().await;
            firing.iter().any(|alert| {
                alert["alertname"] == name && labels.iter().all(|(label, value)| alert[*label] == *value)
            })
        })
        .await;
    }

    /// How often the rules were evaluated so far.
    pub(crate) async fn evaluations(&self) -> f64 {
        let metrics = get(self.address, "/metrics").await.unwrap().body;
        let mut lines = metrics
            .lines()
            .filter(|line| line.starts_with("prometheus_rule_group_iterations_total"));
        lines
            .next()
            .map_or(0.0, |line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
