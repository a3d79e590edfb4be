//! The reading loop of a term: reads batches, sleeps while nothing is written, and does what is due once a second.
//!
//! Guarantees: a commit wakes the sleeping reader, and a change alone never waits for others; without the doorbell (its LISTEN connection
//! is lost) the loop polls, and with it, a slow poll bounds the delay if a notification is lost.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::Client;

use super::bisection::BatchBisection;
use super::consumer::{Consumer, ReadError};
use super::doorbell::{Doorbell, Gate};
use super::leader::{SAFETY_POLL, STUCK, Stop, Term};
use super::pace::Pace;
use super::reader::{Progress, Reader};
use super::settings::DoorbellMode;
use super::status::CaptureStatus;
use super::{gaps, losses, rotation};
use crate::backoff::Backoff;
use crate::database::Session;

/// The time between two looks at the sizes of the change tables.
const ROTATION_CHECK: Duration = Duration::from_secs(1);
/// The longest time that a read change stays before its table is emptied, whatever the table's size.
const ROTATION_ALWAYS: Duration = Duration::from_secs(60);
/// The time between two stores of loss notices: every role of the database can send them.
const NOTICES: Duration = Duration::from_secs(10);
/// The waits between two tries of a batch that cannot be worked on now: the first and the longest.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// The first wait of an idle reader that cannot sleep until it is woken, and the longest waits: without the doorbell's connection,
/// and while a writer keeps the gate open.
const FIRST_IDLE: Duration = Duration::from_millis(1);
const IDLE_WITHOUT_BELL: Duration = Duration::from_millis(100);
const IDLE_WITHOUT_GATE: Duration = Duration::from_millis(20);

/// What is looked at once a second, in one statement.
static TO_DO: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {}, {} AS missed", rotation::sizes_sql(), losses::ANY));

/// When the leader last did what it does at intervals.
struct Housekeeping {
    checked: Instant,
    emptied: Instant,
    stored_notices: Option<Instant>,
}

impl Housekeeping {
    fn new() -> Self {
        Self {
            checked: Instant::now(),
            emptied: Instant::now(),
            stored_notices: None,
        }
    }
}

impl Term<'_> {
    /// The reading loop.
    ///
    /// While the gate is closed, every writer rings when it commits. So after a batch that left nothing, the reader sleeps at once: what
    /// its snapshot did not show was not committed when the gate closed, so its ring comes or has come. A ring makes commits wait for
    /// one another. So the gate is opened if a writer is quicker than a batch; then the reader reads at intervals ([`Pace`]), and closes
    /// the gate before a read, as soon as one has found nothing.
    pub(super) async fn read<C: Consumer>(
        &self,
        session: &mut Session,
        reader: &mut Reader,
        consumer: &mut C,
        bisection: &mut BatchBisection,
        bell: &mut Doorbell,
    ) -> Result<(), Stop<C::Error>> {
        let mut housekeeping = Housekeeping::new();
        let mut idle = Backoff::doubling(FIRST_IDLE, self.settings.poll_interval.max(IDLE_WITHOUT_BELL));
        let gate = Gate::new(session).await?;
        let mut pace = Pace::new(Instant::now());
        let (mut closed, mut closing, mut tried) = (false, false, false);
        while !self.shutdown.is_cancelled() {
            let began = Instant::now();
            let reading = self.read_batch(session, reader, consumer, bisection);
            let progress = if closing {
                // Both go out at once, and the gate's statement comes first.
                let (gate, progress) = futures::join!(gate.close(session), reading);
                closed = gate?;
                progress?
            } else {
                reading.await?
            };
            closing = false;
            self.keep_house(session, reader, consumer, &mut housekeeping)
                .await?;
            if let Progress::Complete(changes) | Progress::More(changes) = progress {
                pace.read(changes, began);
            }
            let found = progress != Progress::Empty;
            let all = matches!(progress, Progress::Empty | Progress::Complete(_));
            if found {
                idle.reset();
            }
            if closed && all && bell.listens() {
                if !bell.has_rung() {
                    tokio::select! {
                        () = bell.ring() => {}
                        () = sleep(SAFETY_POLL) => bell.check().await,
                        () = self.shutdown.cancelled() => {}
                    }
                    continue;
                }
                if !found {
                    continue;
                }
            }
            if closed {
                gate.open(session).await?;
                closed = false;
            }
            let pause = match (self.settings.doorbell, progress) {
                (_, Progress::More(_) | Progress::Halved) => continue,
                (DoorbellMode::Poll, Progress::Empty) => idle.next().min(self.settings.poll_interval),
                (DoorbellMode::Poll, Progress::Complete(_)) => continue,
                (DoorbellMode::Notify, Progress::Complete(_)) => {
                    pace.interval().saturating_sub(began.elapsed())
                }
                (DoorbellMode::Notify, Progress::Empty) if !bell.ready().await => {
                    idle.next().min(IDLE_WITHOUT_BELL)
                }
                (DoorbellMode::Notify, Progress::Empty) => {
                    // The first time at once. Later a writer that found the gate open has not ended yet: its commit will not ring.
                    let pause = if tried {
                        idle.next().min(IDLE_WITHOUT_GATE)
                    } else {
                        Duration::ZERO
                    };
                    closing = true;
                    pause
                }
            };
            tried = closing;
            self.pause(pause).await;
        }
        Ok(())
    }

    /// Once a second: rotates the change tables, turns what was not captured into gaps, and announces gaps.
    async fn keep_house<C: Consumer>(
        &self,
        session: &mut Session,
        reader: &Reader,
        consumer: &mut C,
        last: &mut Housekeeping,
    ) -> Result<(), Stop<C::Error>> {
        if last.checked.elapsed() < ROTATION_CHECK {
            return Ok(());
        }
        last.checked = Instant::now();
        let always = last.emptied.elapsed() >= ROTATION_ALWAYS;
        if always {
            last.emptied = Instant::now();
        }
        let to_do = timeout(STUCK, session.query(&TO_DO, &[])).await;
        let to_do = to_do.map_err(|_| Stop::Stuck)??;
        let Some(to_do) = to_do.first() else {
            return Ok(());
        };
        let client = session.client_mut();
        let sizes = rotation::Sizes::read(to_do)?;
        let rotated = rotation::rotate(client, reader.position(), sizes, always);
        timeout(STUCK, rotated).await.map_err(|_| Stop::Stuck)??;
        let missed: bool = to_do.try_get("missed")?;
        if missed {
            losses::gather(client).await?;
            losses::close(client).await?;
        }
        if last.stored_notices.is_none_or(|at| at.elapsed() >= NOTICES) {
            let stored = losses::store_notices(client, self.notices).await?;
            last.stored_notices = stored.then(Instant::now).or(last.stored_notices);
        }
        // If this fails, announcing fails for the same reason, and says so.
        let untold = timeout(STUCK, session.query(gaps::ANY, &[])).await;
        let untold = untold.map_err(|_| Stop::Stuck)?;
        if untold.map_or(true, |rows| rows.first().is_none_or(|row| row.get(0))) {
            self.announce_gaps(session.client_mut(), consumer).await?;
        }
        Ok(())
    }

    /// Announces gaps to the consumer. What cannot be announced now is announced later, and reading goes on meanwhile.
    async fn announce_gaps<C: Consumer>(
        &self,
        client: &mut Client,
        consumer: &mut C,
    ) -> Result<(), Stop<C::Error>> {
        let announced = gaps::announce(client, consumer, &self.settings.table_prefix);
        if let Err(error) = timeout(STUCK, announced).await.map_err(|_| Stop::Stuck)? {
            if client.is_closed() {
                return Err(error.into());
            }
            tracing::warn!(error = %crate::error_text::chain(&error), "a gap cannot be announced to consumers now; it is tried again");
        }
        Ok(())
    }

    /// Reads one batch. While the consumer cannot take it, waits and tries again on the same connection.
    async fn read_batch<C: Consumer>(
        &self,
        session: &Session,
        reader: &mut Reader,
        consumer: &mut C,
        bisection: &mut BatchBisection,
    ) -> Result<Progress, Stop<C::Error>> {
        let mut retry = Backoff::doubling(FIRST_RETRY, LAST_RETRY);
        loop {
            let read = timeout(STUCK, reader.read(session, consumer, bisection)).await;
            let error = match read {
                Ok(Err(error @ (ReadError::Consumer(_) | ReadError::Store(_) | ReadError::Panic(_)))) => {
                    error
                }
                Ok(Ok(progress)) => {
                    self.set(CaptureStatus::Leading);
                    return Ok(progress);
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    bisection.stuck();
                    return Err(Stop::Stuck);
                }
            };
            // A new connection would not help as long as this one works.
            if session.client().is_closed() || self.shutdown.is_cancelled() {
                return Err(error.into());
            }
            let reason = crate::error_text::chain(&error);
            tracing::warn!(error = %reason, "a batch cannot be worked on now and is tried again");
            self.set(CaptureStatus::Away(reason));
            self.pause(retry.next()).await;
        }
    }
}
