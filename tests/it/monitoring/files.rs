//! The files below `deploy/monitoring`, and that runbook and metrics page fit them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::prometheus::promtool;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn file(name: &str) -> PathBuf {
    root().join("deploy/monitoring").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

/// The rules as they are shipped.
pub(super) fn rules() -> String {
    text("alerts.yaml")
}

/// The same, each with a short wait.
pub(super) fn impatient_rules() -> String {
    let mut rules = String::new();
    for line in self::rules().lines() {
        let indent = line.len() - line.trim_start().len();
        if line.trim_start().starts_with("for: ") {
            rules.extend([&line[..indent], "for: 1s\n"]);
        } else {
            rules.extend([line, "\n"]);
        }
    }
    rules
}

/// The queries of the dashboard, each with the title of its panel.
pub(super) fn dashboard_queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&text("grafana-dashboard.json")).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let title = panel["title"].as_str().unwrap().to_owned();
            queries.push((title, target["expr"].as_str().unwrap().to_owned()));
        }
    }
    assert!(queries.len() > 40, "{queries:?}");
    queries
}

/// The names of alerts.
fn alerts() -> BTreeSet<String> {
    let lines = rules();
    let names = lines
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

#[test]
fn promtool_accepts_the_rules_and_their_tests() {
    let what = "the alert rules, by promtool";
    for arguments in [["check", "rules"], ["test", "rules"]] {
        let name = if arguments[0] == "check" {
            "alerts.yaml"
        } else {
            "alerts.test.yaml"
        };
        let path = file(name);
        let arguments = [&arguments[..], &[path.to_str().unwrap()]].concat();
        let Some(done) = promtool(what, &arguments, "") else {
            return;
        };
        done.unwrap_or_else(|said| panic!("{said}"));
    }
}

#[test]
fn each_alert_has_its_test_and_its_section_in_the_runbook() {
    let (tests, runbook) = (
        text("alerts.test.yaml"),
        std::fs::read_to_string(root().join("docs/runbook.md")).unwrap(),
    );
    let sections: BTreeSet<String> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(str::to_owned)
        .collect();
    assert_eq!(alerts(), sections);
    let rules = rules();
    for alert in alerts() {
        assert!(
            tests.contains(&format!("alertname: {alert}\n")),
            "{alert} has no test"
        );
        let link = format!("runbook_url: docs/runbook.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&link), "{alert} does not link to its section");
    }
    for section in runbook.split("\n## ").skip(1) {
        for part in ["**Means**", "**Look at**", "**Do**"] {
            assert!(section.contains(part), "{part} is missing: {section}");
        }
    }
}
