//! `SHOW HELP`: every command, who may use it, what it does.

use crate::console::value::Value;

const READER: &str = "reader";
const OPERATOR: &str = "operator";

const COMMANDS: &[(&str, &str, &str)] = &[
    ("SHOW WEBHOOKS", READER, "the registered webhooks"),
    (
        "SHOW DELIVERIES [WEBHOOK id] [STATE state] [CLASS class] [OBJECT uuid] [EVENT webhook-id] [STATUS status] [CAUSE cause] [SINCE time] [UNTIL time] [BEFORE delivery] [LIMIT n]",
        READER,
        "deliveries, waiting and finished, newest first; 50 unless LIMIT says more, 500 at most",
    ),
    ("SHOW ATTEMPTS delivery", READER, "every attempt of one delivery"),
    (
        "SHOW LAG",
        READER,
        "what waits in the outbox and in the queue, and for how long",
    ),
    (
        "SHOW STATS [webhook]",
        READER,
        "what waits, what became of deliveries in 30 days, and how long they took",
    ),
    (
        "SHOW TABLES",
        READER,
        "the tables of OpenRegister that are captured",
    ),
    ("SHOW WORKERS", READER, "the processes that deliver"),
    (
        "SHOW GAPS",
        READER,
        "stretches of time from which events may be missing",
    ),
    (
        "SHOW JOBS",
        READER,
        "replays, backfills and bulk retries, newest first",
    ),
    (
        "SHOW CONFIG",
        READER,
        "the settings in effect; secrets are masked",
    ),
    (
        "SHOW VERSION",
        READER,
        "the versions of the program, its schema and PostgreSQL",
    ),
    ("SHOW HELP", READER, "this list"),
    (
        "LISTEN events, UNLISTEN events",
        READER,
        "a notification for each attempt of a delivery that this process makes",
    ),
    (
        "PAUSE webhook",
        OPERATOR,
        "goes on collecting events, delivers nothing",
    ),
    (
        "RESUME webhook",
        OPERATOR,
        "delivers what was collected, in order",
    ),
    (
        "DISABLE webhook ['reason']",
        OPERATOR,
        "collects no new events; what is pending is kept",
    ),
    (
        "ENABLE webhook",
        OPERATOR,
        "delivers again, what is pending first",
    ),
    (
        "TEST webhook [class]",
        OPERATOR,
        "sends a test event now and shows what the receiver answered",
    ),
    (
        "RETRY delivery",
        OPERATOR,
        "puts one delivery that was given up or cancelled back into the queue",
    ),
    (
        "RETRY WEBHOOK webhook",
        OPERATOR,
        "puts everything of a webhook back that was given up",
    ),
    (
        "REPLAY webhook SINCE time [CLASS class] [OBJECT uuid]",
        OPERATOR,
        "delivers the stored events since then again; the time is 12h, 3d, '2026-11-25' or '2026-11-25T10:00:00Z'",
    ),
    ("CANCEL JOB job", OPERATOR, "ends a replay or a backfill"),
];

pub(super) fn rows() -> Vec<Vec<Value>> {
    COMMANDS
        .iter()
        .map(|(command, role, what)| vec![Value::from(*command), Value::from(*role), Value::from(*what)])
        .collect()
}
