//! The queries of the dashboard, answered by a real Prometheus that scrapes a running sidecar.

use std::collections::BTreeSet;

use super::files::dashboard_queries;
use crate::support::prometheus::Prometheus;
use crate::support::wait::until;

/// As Grafana would ask it.
fn asked(query: &str) -> String {
    query.replace("$job", ".+").replace("$__rate_interval", "1m")
}

/// Every query is answered, and gives at least one series as soon as Prometheus has scraped twice.
pub(super) async fn every_query_shows_something(prometheus: &Prometheus) {
    let queries = dashboard_queries();
    let mut silent: BTreeSet<usize> = (0..queries.len()).collect();
    until("every query of the dashboard shows something", async || {
        for at in silent.clone() {
            let (title, query) = &queries[at];
            let series = prometheus.query(&asked(query)).await;
            assert!(series.len() < 200, "{title}: {} series", series.len());
            if !series.is_empty() {
                silent.remove(&at);
            }
        }
        silent.is_empty()
    })
    .await;
}
