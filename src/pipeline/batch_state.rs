//! What a batch depends on besides its changes, read in one round trip under the lock that orders the queue.
//!
//! Guarantees: nobody else stores events, enqueues, starts a replay or erases an object from the time of the read to the end of the
//! transaction; the registrations are those of that time.

use std::sync::{Arc, LazyLock};

use chrono::NaiveDate;
use tokio_postgres::types::Type;

use super::error::PipelineError;
use super::{erase, jobs};
use crate::capture::BatchTransaction;
use crate::database::Parameter;
use crate::delivery::queue;
use crate::lifecycle::store;
use crate::registry::{Registry, STAMP, Snapshot, WebhookId};
use orw_model::{Action, EntityKind, EventClass};

/// What a batch depends on.
pub(super) struct BatchState {
    pub(super) registrations: Arc<Snapshot>,
    /// The UTC day.
    pub(super) day: NaiveDate,
    /// A `seq` for each event, ascending.
    pub(super) seqs: Vec<i64>,
    /// The webhooks whose new events a replay enqueues.
    pub(super) replaying: Vec<WebhookId>,
    /// Whether any object was erased lately.
    pub(super) erased: bool,
    /// `ORW_CAPTURE=all`: every event is stored.
    pub(super) store_all: bool,
}

static STATE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {STAMP}, {} AS day, {} AS seqs, ARRAY({}) AS replaying, {} AS erased, s.capture_all \
         FROM openregister_webhooks.registry r, openregister_webhooks.settings s",
        queue::TODAY,
        store::NEXT_SEQS,
        jobs::REPLAYING,
        erase::ANY_ERASED
    )
});

impl BatchState {
    /// Whether an event of this class is stored: some registration names it, enabled or not, so that a replay may want it. A revert of an
    /// object is told by its earlier states, and what the row of an object says of its lock is needed to understand the audit trail.
    pub(super) fn stores(&self, class: EventClass) -> bool {
        let named = |action| self.registrations.names(EventClass::object(action));
        let of_object = class.kind() == EntityKind::Object;
        let of_lock = matches!(class.action(), Action::Locked | Action::Unlocked);
        self.store_all
            || self.registrations.names(class)
            || (of_object && named(Action::Reverted))
            || (of_lock && (named(Action::Locked) || named(Action::Unlocked)))
    }

    /// Reads it, for a batch of so many events.
    pub(super) async fn read(
        tx: &BatchTransaction<'_>,
        registry: &Registry,
        events: usize,
    ) -> Result<Self, PipelineError> {
        let events = i32::try_from(events).unwrap_or(i32::MAX);
        let (none, count): (_, [Parameter<'_>; 1]) = ([].as_slice(), [(&events, Type::INT4)]);
        let statements = [(queue::LOCK, none), (STATE.as_str(), count.as_slice())];
        let rows = tx.together(&statements).await?;
        let row = rows.first().ok_or(PipelineError::NotInstalled)?;
        let replaying: Vec<i64> = row.try_get("replaying")?;
        Ok(Self {
            registrations: match registry.if_current(row) {
                Some(current) => current,
                None => registry.refresh_with(&**tx).await?,
            },
            day: row.try_get("day")?,
            seqs: row.try_get("seqs")?,
            replaying: replaying.into_iter().map(WebhookId).collect(),
            erased: row.try_get("erased")?,
            store_all: row.try_get("capture_all")?,
        })
    }
}
