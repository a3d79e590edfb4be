//! Who did it, where the row that says so comes in a later batch than the event.

use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use crate::delivery::EventRef;
use crate::lifecycle::ActorFound;
use crate::lifecycle::store::actor_to_text;

/// Writes what was found to the stored events that wait for it; these events.
pub(super) async fn resolve(
    tx: &Transaction<'_>,
    found: &[ActorFound],
) -> Result<Vec<EventRef>, tokio_postgres::Error> {
    let lanes: Vec<&str> = found.iter().map(|f| f.lane.as_str()).collect();
    let pids: Vec<i32> = found.iter().map(|f| f.pid).collect();
    let since: Vec<_> = found.iter().map(|f| f.since).collect();
    let until: Vec<_> = found.iter().map(|f| f.at).collect();
    let actors: Vec<Option<String>> = found
        .iter()
        .map(|f| f.actor.as_ref().map(actor_to_text))
        .collect();
    // An event waits for seconds at most, so it is of today or, around midnight, of yesterday.
    let rows = tx
        .query_typed(
            "UPDATE openregister_webhooks.event e SET actor = f.actor, awaiting = false \
             FROM unnest($1::text[], $2::int4[], $3::timestamptz[], $4::timestamptz[], $5::text[]) \
                  AS f (lane, pid, since, until, actor) \
             WHERE e.lane = f.lane AND e.pid = f.pid AND e.at BETWEEN f.since AND f.until AND e.awaiting \
               AND e.day >= (clock_timestamp() AT TIME ZONE 'UTC')::date - 1 \
             RETURNING e.day, e.seq",
            &[
                (&lanes, Type::TEXT_ARRAY),
                (&pids, Type::INT4_ARRAY),
                (&since, Type::TIMESTAMPTZ_ARRAY),
                (&until, Type::TIMESTAMPTZ_ARRAY),
                (&actors, Type::TEXT_ARRAY),
            ],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| EventRef {
            day: row.get(0),
            seq: row.get(1),
        })
        .collect())
}
