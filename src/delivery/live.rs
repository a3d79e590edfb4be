//! Stored events as they come, for people who watch the page.
//!
//! Guarantees: however many watch, the database is asked by one task of the process, and only while somebody does; at most [`READERS`]
//! watch at once; what is kept for them is bounded. Whoever reads too slowly is told how many events were missed, and is let go: a
//! page then asks anew. No content of an object is in it. Events come in their order, as `queue::stream` gives them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{sleep, timeout};

use super::queue::EventRef;
use super::queue::stream::{self, SeenEvent, StreamFilter};
use crate::backoff::Backoff;
use crate::database::DatabaseError;

/// Who may watch at once.
const READERS: usize = 64;
/// How many events a reader may be behind.
const KEPT: usize = 2_048;
/// The pause before stored events are read again.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long events that were read wait for readers that are behind.
const PATIENCE: Duration = Duration::from_millis(250);
/// The pauses after a failure, at first and at most.
const AGAIN: Backoff = Backoff::doubling(INTERVAL, Duration::from_secs(10));
/// How often a reader without events looks whether somebody still asks the database.
const LOOK: Duration = Duration::from_secs(5);

/// Too many watch already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{READERS} readers watch events of this process already; close one of them")]
pub struct TooMany;

/// What a reader gets.
#[derive(Debug, Clone)]
pub enum Live {
    Event(Arc<SeenEvent>),
    /// So many events were missed, because the reader was too slow. It gets no more.
    Missed(u64),
    /// There is no more.
    Ended,
}

/// The events of a database for everybody who watches in this process; cheap to clone.
#[derive(Debug, Clone)]
pub struct LiveEvents(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pool: Pool,
    sender: broadcast::Sender<Arc<SeenEvent>>,
    readers: AtomicUsize,
    asking: AtomicBool,
}

/// One reader.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    filter: StreamFilter,
    receiver: broadcast::Receiver<Arc<SeenEvent>>,
    ended: bool,
}

impl LiveEvents {
    #[must_use]
    pub fn new(pool: Pool) -> Self {
        Self(Arc::new(Shared {
            pool,
            sender: broadcast::Sender::new(KEPT),
            readers: AtomicUsize::new(0),
            asking: AtomicBool::new(false),
        }))
    }

    /// Watches what is stored from about now on.
    ///
    /// # Errors
    /// If `READERS` watch already.
    pub fn watch(&self, filter: StreamFilter) -> Result<Watcher, TooMany> {
        let shared = Arc::clone(&self.0);
        if shared.readers.fetch_add(1, Ordering::AcqRel) >= READERS {
            shared.readers.fetch_sub(1, Ordering::AcqRel);
            return Err(TooMany);
        }
        let receiver = shared.sender.subscribe();
        let watcher = Watcher {
            shared,
            filter,
            receiver,
            ended: false,
        };
        ask(&watcher.shared);
        Ok(watcher)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.readers.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Watcher {
    /// The next event that matches.
    pub async fn next(&mut self) -> Live {
        while !self.ended {
            match timeout(LOOK, self.receiver.recv()).await {
                Ok(Ok(event)) if self.filter.takes(&event) => return Live::Event(event),
                Ok(Ok(_)) => {}
                Ok(Err(RecvError::Lagged(missed))) => {
                    self.ended = true;
                    return Live::Missed(missed);
                }
                Ok(Err(RecvError::Closed)) => self.ended = true,
                // The task may have ended by a panic.
                Err(_) => ask(&self.shared),
            }
        }
        Live::Ended
    }
}

/// Says that nobody asks the database any more, however the task ends.
struct Asking(Arc<Shared>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.asking.store(false, Ordering::Release);
    }
}

/// Starts the task that asks the database, unless there is one.
fn ask(shared: &Arc<Shared>) {
    if !shared.asking.swap(true, Ordering::AcqRel) {
        let asking = Asking(Arc::clone(shared));
        tokio::spawn(async move { read_on(&asking.0).await });
    }
}

/// Reads events and hands them to the readers until there are none.
async fn read_on(shared: &Shared) {
    let mut place = None;
    let mut again = AGAIN;
    while shared.readers.load(Ordering::Acquire) > 0 {
        let pause = match read(shared, &mut place).await {
            Ok((events, more)) => {
                again.reset();
                hand_over(shared, events).await;
                if more { Duration::ZERO } else { INTERVAL }
            }
            Err(error) => {
                tracing::debug!(error = %crate::error_text::chain(&error), "events cannot be read for those who watch; tried again");
                again.next()
            }
        };
        sleep(pause).await;
    }
}

/// What was stored after this place, and whether there is more. Without a place, from now on.
async fn read(
    shared: &Shared,
    place: &mut Option<EventRef>,
) -> Result<(VecDeque<SeenEvent>, bool), DatabaseError> {
    let client = shared.pool.get().await?;
    let from = match *place {
        Some(from) => from,
        None => stream::place(&**client, None).await?,
    };
    let read = stream::after(&**client, &StreamFilter::default(), from).await?;
    *place = Some(read.place);
    Ok((read.events.into(), read.more))
}

/// Hands events over, and waits a little for readers that are behind.
async fn hand_over(shared: &Shared, mut events: VecDeque<SeenEvent>) {
    let mut waited = Duration::ZERO;
    while let Some(event) = events.pop_front() {
        // Without a reader it is nobody's loss.
        let _ = shared.sender.send(Arc::new(event));
        while shared.sender.len() > KEPT / 2 && waited < PATIENCE {
            let pause = Duration::from_millis(5);
            sleep(pause).await;
            waited += pause;
        }
    }
}
