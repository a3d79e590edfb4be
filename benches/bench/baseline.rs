//! The ratios that `make bench-check` does not let grow: `benches/baseline.json`.
//!
//! A ratio may exceed its baseline by the tolerance. Ratios are of CPU time within one run, in rounds; on a machine with three times as
//! many busy processes as cores they moved by less than half of the tolerance.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::{Ratio, repository};

/// How much a new baseline may be exceeded.
const TOLERANCE: f64 = 0.3;

#[derive(Debug, Serialize, Deserialize)]
struct Known {
    ratio: f64,
    tolerance: f64,
}

/// By section and name of the ratio.
type Baseline = BTreeMap<String, BTreeMap<String, Known>>;

fn load() -> Baseline {
    let text = std::fs::read_to_string(repository().join("benches/baseline.json"))
        .unwrap_or_else(|_| "{}".to_owned());
    serde_json::from_str(&text).expect("benches/baseline.json is what `--bless` writes")
}

/// Whether there is a baseline for a section.
pub(crate) fn knows(section: &str) -> bool {
    load().contains_key(section)
}

/// What is worse than the baseline, or missing in it, one line each.
pub(crate) fn worse(section: &str, ratios: &[Ratio]) -> Vec<String> {
    let baseline = load();
    let known = baseline.get(section);
    let mut worse = Vec::new();
    for Ratio { name, value } in ratios {
        match known.and_then(|known| known.get(name)) {
            Some(Known { ratio, tolerance }) if *value <= ratio * (1.0 + tolerance) => {
                println!("good: {section}: {name}: {value:.2} (baseline {ratio:.2})");
            }
            Some(Known { ratio, tolerance }) => worse.push(format!(
                "worse: {section}: {name}: {value:.2}, baseline {ratio:.2}, tolerance {:.0} %",
                tolerance * 100.0
            )),
            None => worse.push(format!(
                "no baseline: {section}: {name}: {value:.2}; run it with --bless"
            )),
        }
    }
    for name in known.into_iter().flat_map(BTreeMap::keys) {
        if !ratios.iter().any(|ratio| ratio.name == *name) {
            worse.push(format!("not measured: {section}: {name}"));
        }
    }
    worse
}

/// Makes these ratios the baseline of a section.
pub(crate) fn bless(section: &str, ratios: &[Ratio]) {
    let mut baseline = load();
    let known = ratios.iter().map(|ratio| {
        let rounded = (ratio.value * 100.0).round() / 100.0;
        (
            ratio.name.clone(),
            Known {
                ratio: rounded,
                tolerance: TOLERANCE,
            },
        )
    });
    baseline.insert(section.to_owned(), known.collect());
    let text = serde_json::to_string_pretty(&baseline).unwrap() + "\n";
    std::fs::write(repository().join("benches/baseline.json"), text).unwrap();
}
