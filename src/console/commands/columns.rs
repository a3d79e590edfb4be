//! The columns of each answer: known before the command is done, because clients ask for them first.

use crate::console::statement::{Change, Show};
use crate::console::value::{Column, Kind};

const fn bool(name: &'static str) -> Column {
    column(name, Kind::Bool)
}

const fn int(name: &'static str) -> Column {
    column(name, Kind::Int8)
}

const fn float(name: &'static str) -> Column {
    column(name, Kind::Float8)
}

const fn text(name: &'static str) -> Column {
    column(name, Kind::Text)
}

const fn time(name: &'static str) -> Column {
    column(name, Kind::Time)
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

const WEBHOOKS: &[Column] = &[
    int("id"),
    text("status"),
    text("reason"),
    time("since"),
    text("event"),
    text("method"),
    text("uri"),
    text("format"),
    text("ordering"),
    int("per_second"),
    int("burst"),
    int("max_in_flight"),
    float("timeout_seconds"),
    int("max_attempts"),
    text("registered_by"),
    time("created_at"),
    time("updated_at"),
];

const DELIVERIES: &[Column] = &[
    int("id"),
    int("webhook"),
    text("state"),
    text("class"),
    text("event_id"),
    text("lane"),
    text("reason"),
    int("attempts"),
    int("status"),
    text("cause"),
    time("created_at"),
    time("due_at"),
    time("finished_at"),
];

const ATTEMPTS: &[Column] = &[
    int("number"),
    time("at"),
    int("duration_ms"),
    int("status"),
    text("cause"),
    text("error"),
    text("response"),
    bool("probe"),
];

const LAG: &[Column] = &[
    text("stage"),
    int("waiting"),
    time("oldest_at"),
    float("oldest_seconds"),
];

const STATS: &[Column] = &[
    int("webhook"),
    int("pending"),
    int("retrying"),
    int("leased"),
    time("oldest_pending"),
    int("succeeded"),
    int("given_up"),
    int("failed_attempts"),
    int("failures_in_a_row"),
    time("last_success"),
    time("last_failure"),
    text("last_cause"),
    int("mean_attempt_ms"),
    int("median_ms"),
    int("p99_ms"),
    int("sample"),
];

const TABLES: &[Column] = &[
    text("table_name"),
    bool("captured"),
    time("first_seen"),
    int("estimated_rows"),
];

const WORKERS: &[Column] = &[
    text("id"),
    text("name"),
    bool("alive"),
    int("webhooks"),
    time("started_at"),
    time("beat_at"),
    time("alive_until"),
];

const GAPS: &[Column] = &[
    int("id"),
    text("table_name"),
    time("since"),
    time("until"),
    text("cause"),
    text("reason"),
    text("remedy"),
    time("recorded_at"),
    time("announced_at"),
];

const JOBS: &[Column] = &[
    int("id"),
    text("kind"),
    int("webhook"),
    text("state"),
    int("expected"),
    int("seen"),
    int("enqueued"),
    text("note"),
    text("waiting"),
    text("started_by"),
    time("created_at"),
    time("finished_at"),
];

const CONFIG: &[Column] = &[text("name"), text("value"), text("origin"), text("about")];
const VERSION: &[Column] = &[text("version"), int("schema"), text("postgresql")];
const HELP: &[Column] = &[text("command"), text("role"), text("what_it_does")];
const ONE: &[Column] = &[int("?column?")];

const TEST: &[Column] = &[
    bool("succeeded"),
    int("status"),
    text("cause"),
    text("error"),
    int("duration_ms"),
    text("class"),
    text("event_id"),
    text("response"),
];

const RETRY: &[Column] = &[int("webhook"), int("retried"), bool("more")];

/// The columns of what is shown.
pub(in crate::console) const fn of_show(wanted: &Show) -> &'static [Column] {
    match wanted {
        Show::Webhooks => WEBHOOKS,
        Show::Deliveries(_) => DELIVERIES,
        Show::Attempts(_) => ATTEMPTS,
        Show::Lag => LAG,
        Show::Stats(_) => STATS,
        Show::Tables => TABLES,
        Show::Workers => WORKERS,
        Show::Gaps => GAPS,
        Show::Jobs => JOBS,
        Show::Config => CONFIG,
        Show::Version => VERSION,
        Show::Help => HELP,
        Show::Parameter(parameter) => parameter.columns,
        Show::One => ONE,
    }
}

/// The columns of what a change answers; none if it answers only that it was done.
pub(in crate::console) const fn of_change(wanted: &Change) -> Option<&'static [Column]> {
    match wanted {
        Change::Test { .. } => Some(TEST),
        Change::Retry(_) | Change::RetryWebhook(_) => Some(RETRY),
        Change::Replay(_) | Change::CancelJob(_) => Some(JOBS),
        Change::Pause(_) | Change::Resume(_) | Change::Enable(_) | Change::Disable { .. } => None,
    }
}
