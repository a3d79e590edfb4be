//! Why the demo could not be run.

use std::io;

use orw_testkit::nextcloud::NextcloudError;
use orw_testkit::postgres::PostgresError;
use orw_testkit::receiver::ReceiverError;
use orw_testkit::writer::WriterError;

/// The demo could not be run.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    #[error(transparent)]
    Nextcloud(#[from] NextcloudError),
    #[error(transparent)]
    Receiver(#[from] ReceiverError),
    #[error(transparent)]
    Writer(#[from] WriterError),
    #[error("the sidecar's API: {0}")]
    Call(String),
    #[error("`openregister-webhooks {command}` ended ({status}); its log ends with:\n{log}")]
    Sidecar {
        command: &'static str,
        status: String,
        log: String,
    },
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("the demo cannot print: {0}")]
    Print(#[from] io::Error),
    #[error("a part of the demo ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}
