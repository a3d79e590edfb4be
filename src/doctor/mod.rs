//! Looks for everything that keeps events from arriving.
//!
//! Guarantees: it changes nothing. It works with any role and through any pooler, and says what it could not check. Every finding that
//! is not fine names its cause and its remedy. No finding contains a password.

mod backlog;
mod connection;
mod examined;
mod figures;
mod finding;
mod identity;
mod nextcloud;
mod pooler;
mod rights;
mod schema;
mod server;
mod tables;
mod webhooks;

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::error::SqlState;

pub use connection::explain;
pub use finding::{Finding, Level, Report};
pub(crate) use pooler::{Pooling, is_pooled, pooling};

use examined::Examined;

use crate::config::Settings;
use crate::database::Database;

/// The longest that a check may take: through a pooler no statement has a timeout of its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// The remedy if the server does not answer in time.
const OVERLOADED: &str =
    "something holds a lock, or the server is overloaded: look at pg_stat_activity, and run doctor again";

/// Examines the database of these settings.
pub async fn examine(database: &Database, settings: &Settings) -> Report {
    let mut report = Report::default();
    report.add_all(nextcloud::check(settings).await);
    let client = match database.connect().await {
        Ok((client, _)) => client,
        Err(error) => {
            report.add(explain(&error, &database.target()));
            return report;
        }
    };
    report.add(Finding::ok(
        "connection",
        format!("connected to {} as {}", database.target(), database.target().user),
    ));
    let pooled = match bounded("pooler", pooler::check(database, &client, settings.doorbell)).await {
        Ok((pooled, findings)) => {
            report.add_all(findings);
            pooled
        }
        Err(finding) => {
            report.add(finding);
            true
        }
    };
    // A lock of somebody else must not make doctor wait. Through a pooler the setting would stay in a session that others use.
    let limits = "SET statement_timeout = '10s'; SET lock_timeout = '2s'";
    if !pooled && let Err(finding) = bounded("connection", client.batch_execute(limits)).await {
        report.add(finding);
    }
    let mut examined = Examined {
        client: &client,
        database,
        settings,
        host_schema: "public".to_owned(),
        table_prefix: settings.table_prefix.clone(),
    };
    report.take(bounded("server", server::check(&examined)).await);
    match bounded("schema", schema::check(&mut examined)).await {
        Ok((installed, findings)) => {
            report.add_all(findings);
            if installed {
                installation(&examined, &mut report).await;
            }
        }
        Err(finding) => report.add(finding),
    }
    report
}

/// The checks that need the schema.
async fn installation(examined: &Examined<'_>, report: &mut Report) {
    let usable = match bounded("rights", rights::check(examined)).await {
        Ok((usable, findings)) => {
            report.add_all(findings);
            usable
        }
        Err(finding) => {
            report.add(finding);
            true
        }
    };
    report.take(bounded("triggers", tables::check(examined)).await);
    if usable {
        report.take(bounded("identity", identity::check(examined)).await);
        report.take(bounded("backlog", backlog::check(examined)).await);
        report.take(bounded("webhooks", webhooks::check(examined)).await);
    } else {
        report.add(Finding::note(
            "backlog",
            "the backlog was not checked, because that takes the missing rights",
        ));
    }
    report.take(bounded("size", server::check_size(examined)).await);
}

/// The result of a check, or the finding that the check could not be made.
async fn bounded<T>(
    check: &'static str,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Finding> {
    match timeout(PATIENCE, work).await {
        Ok(done) => done.map_err(|error| failed(check, &error)),
        Err(_) => Err(Finding::warning(
            check,
            format!("{check} could not be checked"),
            format!("the database did not answer within {} s", PATIENCE.as_secs()),
            OVERLOADED,
        )),
    }
}

/// The finding for a check that could not be made.
fn failed(check: &'static str, error: &tokio_postgres::Error) -> Finding {
    let text = error
        .as_db_error()
        .map_or_else(|| crate::error_text::chain(error), |e| e.message().to_owned());
    let remedy = match error.code() {
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            "run doctor as the owner of Nextcloud's tables, or give this role its rights: openregister-webhooks install --runtime-role NAME"
        }
        Some(code) if *code == SqlState::QUERY_CANCELED || *code == SqlState::LOCK_NOT_AVAILABLE => {
            OVERLOADED
        }
        _ => "run doctor again; if it stays, report it with this message",
    };
    Finding::warning(check, format!("{check} could not be checked"), text, remedy)
}
