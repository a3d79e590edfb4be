//! A step of a replay: the next stored events, through the webhook's filter as it is now.
//!
//! Guarantees: every event that was stored since the time asked for, and that the webhook wants, is enqueued once, in the
//! order of the stream; with it what the reader stored while the replay ran. The step that finds nothing more holds the lock
//! that orders the queue, so the reader goes on exactly from there.

use std::borrow::Cow;
use std::collections::HashSet;

use chrono::Utc;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Transaction};

use super::job::{Job, JobState};
use super::progress::{EventPlace, StoredReplay, to_json};
use super::step::{StepContext, StepError};
use crate::delivery::{EventRef, NewDelivery, Reason, enqueue, queue};
use crate::lifecycle::{ActorState, Event, Lane, StoredEvent, store};
use crate::pipeline::matching::{self, Match};
use crate::registry::{Ordering, Webhook};

/// Events that are looked at in a step: only their keys.
const LOOKED_AT: i64 = 5000;
/// Events that are read in a step.
const READ: usize = 500;
/// Bytes of events that are read in a step; one event more than that is a step of its own.
const BYTES: i64 = 16 << 20;

/// What a look at the stream found.
struct Look {
    /// The events to read.
    wanted: Vec<EventPlace>,
    /// How many were looked at, up to where.
    seen: usize,
    last: Option<EventPlace>,
    /// Nothing follows.
    complete: bool,
}

/// Makes one step.
pub(super) async fn step(
    context: &StepContext<'_>,
    tx: &Transaction<'_>,
    webhook: &Webhook,
    job: &mut Job,
) -> Result<(), StepError> {
    let request: StoredReplay = StepError::stored(job.request.clone())?;
    let mut place: EventPlace = StepError::stored(job.place.clone())?;
    if job.state == JobState::Cancelling && (place.day, place.seq) < (request.until.day, request.until.seq) {
        place = request.until;
    }
    let mut look = look(tx, &request, place).await?;
    if look.complete {
        // Near the end: nobody stores anything now, and what was stored meanwhile is seen.
        queue::lock(tx).await?;
        look = self::look(tx, &request, place).await?;
    }
    let mut deliveries = Vec::new();
    for event in read(tx, &look.wanted).await? {
        let (at, event) = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(job = job.id, error = %error, "an event cannot be replayed");
                continue;
            }
        };
        let Some(wanted) = wanted(&event, webhook, context) else {
            continue;
        };
        deliveries.push(NewDelivery {
            webhook: webhook.id,
            event: EventRef {
                day: at.day,
                seq: at.seq,
            },
            lane: event.lane().clone(),
            ordered: webhook.ordering == Ordering::Object,
            await_user: (wanted == Match::AwaitUser).then_some(context.actor_wait),
            reason: if is_old(at, &request) {
                Reason::Replay
            } else {
                Reason::Live
            },
        });
    }
    drop_erased(tx, &mut deliveries).await?;
    enqueue(tx, &deliveries).await?;
    job.seen += i64::try_from(look.seen).unwrap_or_default();
    job.enqueued += i64::try_from(deliveries.len()).unwrap_or_default();
    job.place = to_json(&look.last.unwrap_or(place));
    if look.complete {
        job.state = match job.state {
            JobState::Cancelling => JobState::Cancelled,
            _ => JobState::Done,
        };
    }
    Ok(())
}

/// Drops what was erased since it was read: an event is deleted under the lock that is held from here on.
async fn drop_erased(tx: &Transaction<'_>, deliveries: &mut Vec<NewDelivery>) -> Result<(), Error> {
    if deliveries.is_empty() {
        return Ok(());
    }
    queue::lock(tx).await?;
    let days: Vec<_> = deliveries.iter().map(|d| d.event.day).collect();
    let seqs: Vec<_> = deliveries.iter().map(|d| d.event.seq).collect();
    let sql = "SELECT w.seq FROM unnest($1::date[], $2::bigint[]) AS w (day, seq) CROSS JOIN LATERAL \
         (SELECT FROM openregister_webhooks.event e WHERE e.day = w.day AND e.seq = w.seq LIMIT 1) e";
    let rows = tx
        .query_typed(sql, &[(&days, Type::DATE_ARRAY), (&seqs, Type::INT8_ARRAY)])
        .await?;
    let there: HashSet<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    deliveries.retain(|delivery| there.contains(&delivery.event.seq));
    Ok(())
}

/// Whether the reader enqueued the event itself, before the replay began.
fn is_old(at: EventPlace, request: &StoredReplay) -> bool {
    (at.day, at.seq) <= (request.until.day, request.until.seq)
}

/// What the webhook wants of an event as it is registered now; `None` where it does not want it.
fn wanted(event: &StoredEvent, webhook: &Webhook, context: &StepContext<'_>) -> Option<Match> {
    match event {
        StoredEvent::Gap(notice) => webhook.hears_of_gaps(notice.kind).then_some(Match::Yes),
        StoredEvent::Event(event) if webhook.event.classes().contains(&event.class) => {
            matching::matches_one(webhook, &with_known_actor(event, context), context.metrics)
        }
        StoredEvent::Event(_) => None,
    }
}

/// The event as filters may see it: if it is old, nobody will say any more who caused it, so its user counts as known to be none.
fn with_known_actor<'e>(event: &'e Event, context: &StepContext<'_>) -> Cow<'e, Event> {
    let age = (Utc::now() - event.at).to_std().unwrap_or_default();
    if age <= 2 * context.actor_wait || matches!(event.actor, ActorState::Known(_)) {
        return Cow::Borrowed(event);
    }
    Cow::Owned(Event {
        actor: ActorState::Known(event.actor.actor().cloned()),
        ..event.clone()
    })
}

/// Looks at what follows `place`.
async fn look(tx: &Transaction<'_>, request: &StoredReplay, place: EventPlace) -> Result<Look, Error> {
    // What was made for another webhook is none of this one's; nor is what was made for this one by a backfill.
    let sql = "SELECT e.day, e.seq, octet_length(e.new)::int8 + coalesce(octet_length(e.old), 0), \
        e.made_for IS NULL AND ((e.day, e.seq) > ($3, $4) \
            OR (e.at >= $5 AND ($6::text IS NULL OR e.class = $6) AND ($7::text IS NULL OR e.lane = $7))) \
        FROM openregister_webhooks.event e WHERE e.day >= $1 AND (e.day, e.seq) > ($1, $2) ORDER BY e.day, e.seq LIMIT $8";
    let lane = request.object.as_deref().map(Lane::object);
    let rows = tx
        .query_typed(
            sql,
            &[
                (&place.day, Type::DATE),
                (&place.seq, Type::INT8),
                (&request.until.day, Type::DATE),
                (&request.until.seq, Type::INT8),
                (&request.since, Type::TIMESTAMPTZ),
                (&request.class, Type::TEXT),
                (&lane.as_ref().map(Lane::as_str), Type::TEXT),
                (&LOOKED_AT, Type::INT8),
            ],
        )
        .await?;
    let mut found = Look {
        wanted: Vec::new(),
        seen: 0,
        last: None,
        complete: i64::try_from(rows.len()).is_ok_and(|n| n < LOOKED_AT),
    };
    let mut bytes = 0_i64;
    for row in &rows {
        let at = EventPlace {
            day: row.try_get(0)?,
            seq: row.try_get(1)?,
        };
        if row.try_get(3)? {
            if found.wanted.len() == READ || bytes >= BYTES {
                found.complete = false;
                break;
            }
            bytes += row.try_get::<_, i64>(2)?;
            found.wanted.push(at);
        }
        found.seen += 1;
        found.last = Some(at);
    }
    Ok(found)
}

type Read = Result<(EventPlace, StoredEvent), store::StoredEventError>;

/// Reads events, in their order.
async fn read(tx: &Transaction<'_>, wanted: &[EventPlace]) -> Result<Vec<Read>, Error> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT e.day, e.seq, {} FROM unnest($1::date[], $2::bigint[]) WITH ORDINALITY AS w (day, seq, place) CROSS JOIN LATERAL \
         (SELECT * FROM openregister_webhooks.event e WHERE e.day = w.day AND e.seq = w.seq LIMIT 1) e ORDER BY w.place",
        store::COLUMNS
    );
    let days: Vec<_> = wanted.iter().map(|at| at.day).collect();
    let seqs: Vec<_> = wanted.iter().map(|at| at.seq).collect();
    let rows = tx
        .query_typed(&sql, &[(&days, Type::DATE_ARRAY), (&seqs, Type::INT8_ARRAY)])
        .await?;
    rows.iter()
        .map(|row| {
            let at = EventPlace {
                day: row.try_get("day")?,
                seq: row.try_get("seq")?,
            };
            Ok(store::read(row).map(|event| (at, event)))
        })
        .collect()
}
