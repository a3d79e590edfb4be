//! Reports of `doctor`, and what a finding must say.

use std::path::Path;

use openregister_webhooks::config::Settings;
use openregister_webhooks::database::Database;
use openregister_webhooks::doctor::{self, Finding, Level, Report};

use crate::support::postgres::Db;

pub(super) async fn examine(url: &str, change: impl FnOnce(&mut Settings)) -> Report {
    let mut settings = Settings::new(url);
    change(&mut settings);
    let database = Database::new(&settings.database_url, orw_egress::client_config(None).unwrap()).unwrap();
    doctor::examine(&database, &settings).await
}

pub(super) async fn examine_as(db: &Db, role: &str) -> Report {
    examine(&db.url(role), |_| {}).await
}

/// Trusts the authority of this file too.
pub(super) async fn examine_trusting(url: &str, ca_file: &Path) -> Report {
    let settings = Settings::new(url);
    let tls = orw_egress::client_config(Some(ca_file)).unwrap();
    let database = Database::new(&settings.database_url, tls).unwrap();
    doctor::examine(&database, &settings).await
}

/// All warnings and errors.
pub(super) fn trouble(report: &Report) -> Vec<&Finding> {
    report
        .findings
        .iter()
        .filter(|f| f.level >= Level::Warning)
        .collect()
}

/// The only error of the report.
pub(super) fn only_error(report: &Report) -> &Finding {
    let errors: Vec<_> = report
        .findings
        .iter()
        .filter(|f| f.level == Level::Error)
        .collect();
    assert_eq!(errors.len(), 1, "{report:#?}");
    errors[0]
}

/// Asserts that the finding contains these texts.
pub(super) fn assert_says(finding: &Finding, what: &str, cause: &str, remedy: &str) {
    assert!(finding.what.contains(what), "what: {finding}");
    let said = finding.cause.as_deref().unwrap_or_default();
    assert!(said.contains(cause), "cause: {finding}");
    let said = finding.remedy.as_deref().unwrap_or_default();
    assert!(said.contains(remedy), "remedy: {finding}");
}
