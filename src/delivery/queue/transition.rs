//! The SQL of each change of state of a delivery, written once. The statements that make a change put these texts together with
//! the rows that they are about. `docs/delivery-states.md` has the picture.
//!
//! Statements look rows up with `d.id = ANY (ARRAY[x.id])` and not with `d.id = x.id`: the former can only be an index look-up,
//! row by row. If statistics say that the queue is (almost) empty and it is not, the planner would otherwise read all of it. For
//! the same reason the order of a lane is `id + 0`: only the index of lanes (`delivery_lane`) has it.

/// States of a row of `delivery`.
pub(crate) const UNFINISHED: [&str; 4] = ["pending", "awaiting_user", "leased", "retrying"];
/// States of a row of `delivery_log`.
pub(super) const FINISHED: [&str; 3] = ["succeeded", "given_up", "cancelled"];

/// → `leased`: the changes of a row `d` that worker `$1` takes. Only a head may be taken.
pub(super) const TAKE_LEASE: &str = "state = 'leased', lease_owner = $1, fence = d.fence + 1";

/// `leased` → `pending`, `awaiting_user` or `retrying`: the changes of a row that its worker no longer holds. `awaiting` is an SQL
/// expression for whether the delivery still waits for the row that names the user, `attempts` one for the attempts made.
pub(super) fn give_back(awaiting: &str, attempts: &str) -> String {
    format!(
        "lease_owner = NULL, awaiting = {awaiting}, attempt = {attempts},
        state = CASE WHEN {awaiting} THEN 'awaiting_user' WHEN {attempts} > 0 THEN 'retrying' ELSE 'pending' END"
    )
}

/// What the log says of deliveries that are finished: SQL expressions over the row `d`, and over what is beside it in the selection.
pub(super) struct Ending {
    /// One of [`FINISHED`]; `dropped`: the row goes and is not logged.
    pub(super) state: &'static str,
    pub(super) cause: &'static str,
    pub(super) event_id: &'static str,
    pub(super) class: &'static str,
    pub(super) attempts: &'static str,
    pub(super) status: &'static str,
}

impl Ending {
    /// Finished without another attempt, with the cause in a parameter such as `$1`.
    pub(super) const fn untried(state: &'static str, cause: &'static str) -> Self {
        Self {
            state,
            cause,
            event_id: "NULL::text",
            class: "NULL::text",
            attempts: "d.attempt",
            status: "NULL::integer",
        }
    }

    /// The same, and the log names the event, so that it is found by it when the event itself is gone. It fails if the row of the event
    /// is damaged.
    pub(super) const fn untried_of_event(state: &'static str, cause: &'static str) -> Self {
        Self {
            event_id: "(SELECT e.id FROM openregister_webhooks.event e WHERE e.day = d.event_day AND e.seq = d.event_seq LIMIT 1)",
            class: "(SELECT e.class FROM openregister_webhooks.event e WHERE e.day = d.event_day AND e.seq = d.event_seq LIMIT 1)",
            ..Self::untried(state, cause)
        }
    }
}

/// → `succeeded`, `given_up`, `cancelled`, or gone: two parts of a `WITH`, `gone` and `logged`, which delete rows of the queue and
/// write them to the log. `selection` is what follows `DELETE FROM … d`: `WHERE …`, with a `USING` before it if need be.
///
/// Where rows are deleted that others may wait behind, the same transaction makes the next ones heads, by [`PROMOTE`].
pub(super) fn finish(selection: &str, ending: &Ending) -> String {
    let Ending {
        state,
        cause,
        event_id,
        class,
        attempts,
        status,
    } = ending;
    format!(
        "gone AS (
    DELETE FROM openregister_webhooks.delivery d {selection}
    RETURNING d.id, d.webhook, d.event_day, d.event_seq, d.lane, d.reason, d.created_at, {state} AS final_state, {cause} AS cause,
        {event_id} AS event_id, {class} AS class, {attempts} AS attempts, {status} AS status
), logged AS (
    INSERT INTO openregister_webhooks.delivery_log
        (day, id, webhook, event_day, event_seq, event_id, class, lane, state, reason, attempt, status, cause, created_at)
    SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date, g.id, g.webhook, g.event_day, g.event_seq, g.event_id, g.class,
        g.lane, g.final_state, g.reason, g.attempts, g.status, g.cause, g.created_at
    FROM gone g WHERE g.final_state <> 'dropped'
)"
    )
}

/// Makes the first row of each of these lanes its head: webhooks in `$1`, the names of their lanes in `$2`. Returns the webhooks
/// that have a new head.
///
/// It must be a statement of its own, after the one that deletes, in the same transaction: so it sees what was put in until
/// then (see `enqueue`).
pub(super) const PROMOTE: &str = "\
UPDATE openregister_webhooks.delivery d SET head = true
FROM unnest($1::bigint[], $2::text[]) AS l(webhook, lane)
CROSS JOIN LATERAL (
    SELECT f.id, f.head FROM openregister_webhooks.delivery f
    WHERE f.webhook = l.webhook AND f.lane = l.lane ORDER BY f.id + 0 LIMIT 1
) f
WHERE d.id = ANY (ARRAY[f.id]) AND NOT f.head
RETURNING d.webhook";

/// Every webhook that has something in the queue, with one look at the index for each: a part of a `WITH RECURSIVE`.
pub(super) const WEBHOOKS: &str = "\
queued AS (
    (SELECT d.webhook FROM openregister_webhooks.delivery d ORDER BY d.webhook LIMIT 1)
    UNION ALL
    SELECT (SELECT d.webhook FROM openregister_webhooks.delivery d WHERE d.webhook > q.webhook ORDER BY d.webhook LIMIT 1)
    FROM queued q WHERE q.webhook IS NOT NULL
)";
