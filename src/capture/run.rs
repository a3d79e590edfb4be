//! Capture for as long as the process runs: term after term.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::bisection::BatchBisection;
use super::leader::{Stop, Term};
use super::loss_notices::LossNotices;
use super::position::Identity;
use super::reader::{Consumer, ReadError};
use super::settings::CaptureSettings;
use super::{doorbell, losses};
use crate::database::{Database, DatabaseError};
use crate::supervise::ending;

/// The longest a sleeping reader goes without a look.
pub const SAFETY_POLL: Duration = Duration::from_secs(5);

/// What this process' capture is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptureStatus {
    /// Not connected (yet); the reason is for a person.
    Away(String),
    /// Another process leads.
    Standby,
    /// The position belongs to another cluster: nothing is delivered until `adopt`.
    Held {
        stored: Identity,
        current: Identity,
    },
    Leading,
}

/// Leads whenever it can, until `shutdown`. Errors end a term, never the loop. `notices` may be those of an earlier run that ended
/// before it could store them.
pub async fn run<C: Consumer>(
    database: Database,
    settings: CaptureSettings,
    mut consumer: C,
    status: watch::Sender<CaptureStatus>,
    notices: LossNotices,
    shutdown: CancellationToken,
) {
    let status = UntilEnded(status);
    let mut pause = Duration::from_millis(50);
    let mut bisection = BatchBisection::default();
    // It goes on listening when a term ends: whoever finds the change tables locked, as the reader does then, says so by it.
    let mut bell = doorbell::Doorbell::new(
        database.clone(),
        settings.doorbell,
        settings.table_prefix.clone(),
        notices.clone(),
    );
    while !shutdown.is_cancelled() {
        let began = Instant::now();
        let term = Term {
            database: &database,
            settings: &settings,
            status: &status.0,
            notices: &notices,
            shutdown: &shutdown,
        };
        let ended = tokio::select! {
            ended = term.serve(&mut consumer, &mut bisection, &mut bell) => ended,
            // A batch is kept whole or not at all.
            () = too_late(&shutdown) => {
                tracing::warn!("a batch was cut off, since the database did not answer in time");
                break;
            }
        };
        let Err(stop) = ended else {
            break;
        };
        if matches!(stop, Stop::Read(ReadError::NotLeader)) {
            status.0.send_replace(CaptureStatus::Standby);
        } else {
            tracing::warn!(error = %crate::error_text::chain(&stop), "capture stopped and begins again");
            status
                .0
                .send_replace(CaptureStatus::Away(crate::error_text::chain(&stop)));
        }
        // A term that worked for a while was not the cause of its end.
        pause = if began.elapsed() > Duration::from_secs(10) {
            Duration::from_millis(50)
        } else {
            pause * 2
        };
        pause = pause.min(Duration::from_secs(2));
        tokio::select! { () = sleep(pause) => {} () = shutdown.cancelled() => {} }
    }
    store_last(&database, &notices).await;
}

/// Waits until the process has been ending for so long that nothing is waited for any more.
async fn too_late(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    sleep(ending::REQUESTS).await;
}

/// Stores what was heard and not stored yet, before the process forgets it.
async fn store_last(database: &Database, notices: &LossNotices) {
    if notices.waiting().is_empty() {
        return;
    }
    let store = async {
        let (client, _) = database.connect().await?;
        Ok::<_, DatabaseError>(losses::note(&client, notices).await?)
    };
    let error = match timeout(ending::GOODBYE, store).await {
        Ok(Ok(_)) => return,
        Ok(Err(error)) => crate::error_text::chain(&error),
        Err(_) => "the database did not answer in time".to_owned(),
    };
    tracing::error!(tables = ?notices.waiting().tables(), %error, "changes of these tables are lost, and no gap says so: it cannot be stored");
}

/// However capture ends, nobody is left to believe that it reads.
struct UntilEnded(watch::Sender<CaptureStatus>);

impl Drop for UntilEnded {
    fn drop(&mut self) {
        self.0.send_replace(CaptureStatus::Away("it has ended".into()));
    }
}
