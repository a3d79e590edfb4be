//! Capture as long as the process runs: one term as (candidate for) leader after another.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::bisection::BatchBisection;
use super::consumer::{Consumer, ReadError};
use super::doorbell::Doorbell;
use super::leader::{Stop, Term};
use super::loss_notices::LossNotices;
use super::losses;
use super::settings::CaptureSettings;
use super::status::CaptureStatus;
use crate::backoff::Backoff;
use crate::database::{Database, DatabaseError};
use crate::supervise::ending;

/// The waits before a new term: the first and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// After a term that lasted this long, the next one begins after the first wait again.
const STEADY: Duration = Duration::from_secs(10);

/// Leads whenever it can, until `shutdown`. An error ends a term, never the loop. `notices` may hold what an earlier run received
/// and could not store before it ended.
pub async fn run<C: Consumer>(
    database: Database,
    settings: CaptureSettings,
    mut consumer: C,
    status: watch::Sender<CaptureStatus>,
    notices: LossNotices,
    shutdown: CancellationToken,
) {
    let status = UntilEnded(status);
    let mut pause = Backoff::doubling(FIRST_PAUSE, LAST_PAUSE);
    let mut bisection = BatchBisection::default();
    // It keeps listening when a term ends: a writer that finds every change table locked (which may be why the term ended) sends
    // its notification at that moment.
    let mut bell = Doorbell::new(
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
            // A batch is committed completely or not at all, so it may be cut off anywhere.
            () = too_late(&shutdown) => {
                tracing::warn!("a batch was cut off because the database did not answer in time");
                break;
            }
        };
        let Err(stop) = ended else {
            break;
        };
        if matches!(stop, Stop::Read(ReadError::NotLeader)) {
            status.0.send_replace(CaptureStatus::Standby);
        } else {
            tracing::warn!(error = %crate::error_text::chain(&stop), "capture stopped and starts again");
            status
                .0
                .send_replace(CaptureStatus::Away(crate::error_text::chain(&stop)));
        }
        if began.elapsed() > STEADY {
            pause.reset();
        }
        tokio::select! { () = sleep(pause.next()) => {} () = shutdown.cancelled() => {} }
    }
    store_last(&database, &notices).await;
}

/// Waits until the shutdown has lasted so long that nothing is waited for any more.
async fn too_late(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    sleep(ending::REQUESTS).await;
}

/// Stores the loss notices that are not stored yet, before the process ends and they are lost.
async fn store_last(database: &Database, notices: &LossNotices) {
    if notices.waiting().is_empty() {
        return;
    }
    let store = async {
        let (client, _) = database.connect().await?;
        Ok::<_, DatabaseError>(losses::store_notices(&client, notices).await?)
    };
    let error = match timeout(ending::GOODBYE, store).await {
        Ok(Ok(_)) => return,
        Ok(Err(error)) => crate::error_text::chain(&error),
        Err(_) => "the database did not answer in time".to_owned(),
    };
    tracing::error!(tables = ?notices.waiting().tables(), %error, "changes of these tables are lost, and no gap says so: it cannot be stored");
}

/// Sets the status when capture ends, however it ends, so that nobody takes it for running.
struct UntilEnded(watch::Sender<CaptureStatus>);

impl Drop for UntilEnded {
    fn drop(&mut self) {
        self.0.send_replace(CaptureStatus::Away("it has ended".into()));
    }
}
