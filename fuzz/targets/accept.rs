//! `Accept` of a request for the metrics: no input makes it panic, the order of what is accepted does not matter, and OpenMetrics goes to
//! those alone who name it, and to everybody who prefers it.

use openregister_webhooks::fuzzing::wants_open_metrics;

const OPEN: &str = "application/openmetrics-text";

pub(crate) fn check(bytes: &[u8]) {
    let Ok(accept) = std::str::from_utf8(bytes) else {
        return;
    };
    let wants = wants_open_metrics(accept);
    assert!(!wants || accept.to_ascii_lowercase().contains(OPEN), "{accept}");
    let reversed: Vec<&str> = accept.rsplit(',').collect();
    assert_eq!(wants_open_metrics(&reversed.join(",")), wants, "{accept}");
    assert!(wants_open_metrics(&format!("{accept},{OPEN};q=1")), "{accept}");
}
