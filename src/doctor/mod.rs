//! Looks for everything that keeps events from arriving.
//!
//! Guarantees: changes nothing; works as any role and through any pooler, and says what it could not look at; every
//! finding that is not fine names its cause and its remedy; no finding holds a password.

mod backlog;
mod connection;
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
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

pub use connection::explain;
pub use finding::{Finding, Level, Report};
pub(crate) use pooler::{Pooling, is_pooled, pooling};

use crate::config::Settings;
use crate::database::Database;

/// How long a check may take: through a pooler no statement has a timeout of its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to do where the server does not answer in time.
const OVERLOADED: &str =
    "something holds a lock or the server is overloaded: look at pg_stat_activity and run doctor again";

/// What a check gives; an error becomes a finding of its own.
type Checked = Result<Vec<Finding>, tokio_postgres::Error>;

/// What the checks know of this installation.
#[derive(Debug)]
struct Examined<'a> {
    client: &'a Client,
    database: &'a Database,
    settings: &'a Settings,
    /// Where Nextcloud's tables are, and their prefix.
    host_schema: String,
    table_prefix: String,
}

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
    // A lock that somebody holds must not hold us. Through a pooler the setting would stay with a stranger.
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

/// What can be looked at only where the schema is.
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
            "the backlog is not looked at: that takes the rights that are missing",
        ));
    }
    report.take(bounded("size", server::check_size(examined)).await);
}

/// What a check gives, or the finding that it could not be made.
async fn bounded<T>(
    check: &'static str,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Finding> {
    match timeout(PATIENCE, work).await {
        Ok(done) => done.map_err(|error| failed(check, &error)),
        Err(_) => Err(Finding::warning(
            check,
            format!("{check} could not be looked at"),
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
    Finding::warning(check, format!("{check} could not be looked at"), text, remedy)
}
