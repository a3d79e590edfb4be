//! Jobs: replays, backfills and bulk retries, which are long work in small steps.
//!
//! Guarantees: a step is one short transaction that enqueues a batch of deliveries and stores the progress, so any process can
//! continue the job of a process that was killed, and nothing is enqueued twice; memory and the queue's depth are bounded, whatever
//! the job's size; a webhook has one job at a time. Order per object holds between a job and live events:
//! * A backfill takes the lock that orders the queue and then reads the rows. What was enqueued before was committed before, so a row
//!   is at least as new; what comes later is enqueued behind it.
//! * A replay is a rewind: while it runs, the reader does not enqueue the webhook's new events; the replay does when it comes to
//!   them. It ends under the same lock, when nothing is left, and the reader continues from there.
//! * A bulk retry puts deliveries at the end of their lanes, oldest first, as a retry by hand does.

mod backfill;
mod job;
mod progress;
mod replay;
mod retry;
mod runner;
mod start;
mod start_retry;
mod step;
mod step_size;
mod store;

pub use job::{Job, JobKind, JobState};
pub use runner::{Runner, RunnerSettings};
pub use start::{BackfillRequest, ReplayRequest, StartError, start_backfill, start_replay};
pub use start_retry::{RetryStarted, Skipped, count_retry, start_retry};
pub use store::{cancel, get, list};

pub(crate) use store::{REPLAYING, cancel_all, replaying};
