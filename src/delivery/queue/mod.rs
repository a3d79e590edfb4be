//! The durable queue: the tables `openregister_webhooks.delivery` (unfinished deliveries), `delivery_log` and `attempt` (finished
//! ones, and every attempt), and those that say who may deliver: `worker`, `webhook_owner`, `claim`.
//!
//! Every statement of the program on these tables is in this directory. `transition` has the SQL of each change of state; the
//! picture in `docs/delivery-states.md` names the functions that make them.
//!
//! Guarantees: of a lane (webhook, lane) only the first row, its head, is ever leased (for `ordering: none` every row
//! is a head); an outcome counts only from the holder of the current lease; a finished row moves to the log, and its
//! successor becomes the head, in one transaction. [`enqueue`] is part of the caller's transaction. A lease that its worker
//! does not know of (the answer was lost) is found and given back by `reconcile`.

mod cancel;
mod claim;
mod conditions;
mod counts;
mod delivery;
mod due;
mod enqueue;
mod entry;
mod filter;
mod health;
pub mod listing;
#[cfg(test)]
mod model;
mod outcome;
mod reconcile;
mod record;
mod retry;
mod retry_many;
mod search;
pub mod stream;
mod transition;
mod ways;
mod worker;

pub use cancel::{cancel_all, clean};
pub use counts::{Latency, Waiting};
pub use delivery::{EventRef, NewDelivery, Reason};
pub use due::{notify_peers, resolve_user};
pub use enqueue::{enqueue, enqueue_locked, lock};
pub use filter::{DeliveryFilter, Field};
pub use retry::{Retried, RetrySelection, count_given_up, retry, retry_given_up};
pub use retry_many::{RETRIED, RetryCount, count_retryable, is_retryable};
pub(crate) use retry_many::{RetryBounds, bounds, look, put_back, webhooks_of_failures};

pub(crate) use cancel::{blank_log, cancel_object, clean_some};
pub(crate) use claim::{Claim, ClaimRequest, EventsToo, Taken, claim};
pub(crate) use counts::{count, groups, latencies, living_workers, unfinished, waiting, waiting_of};
pub(crate) use delivery::{Claimed, Followed, LeaseKey};
pub(crate) use due::{due_now, queued, resolve_user_sql};
pub(crate) use enqueue::{LOCK, LeaseAtOnce, TODAY, enqueue_and_lease};
pub(crate) use health::{
    FailingReceiver, HealthReport, StoredHealth, failing, forgive, health, record_health,
};
pub(crate) use outcome::{AttemptRecord, Outcome, OutcomeRecord};
pub(crate) use reconcile::{Reconciled, reconcile};
pub(crate) use record::{Recorded, record_outcomes};
pub(crate) use transition::UNFINISHED;
pub(crate) use worker::{CHANNEL, Heartbeat, LEASE, WorkerId, leave};
