//! The commands of the console, as they are understood.
//!
//! Guarantee: what is not a command is refused with the place where it went wrong; nothing is guessed.

mod parameters;
mod parse;
pub(crate) mod token;

pub(super) use parse::{Parsed, parse};

use super::value::Column;
use crate::delivery::queue::Field;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    Show(Show),
    Change(Change),
    /// `LISTEN events`.
    Listen,
    /// `UNLISTEN events` or `UNLISTEN *`.
    Unlisten,
    /// What drivers send by themselves.
    Session(Session),
}

/// What only looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Show {
    Webhooks,
    Deliveries(Deliveries),
    /// One delivery's attempts.
    Attempts(i64),
    Lag,
    /// Of one webhook, or of all.
    Stats(Option<i64>),
    Tables,
    Workers,
    Gaps,
    Jobs,
    Config,
    Version,
    Help,
    /// A parameter of the session, as drivers ask for them.
    Parameter(Parameter),
    /// `SELECT 1`, with which pools ask whether a connection is alive.
    One,
}

/// Which deliveries; what is not given does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Deliveries {
    /// As written; whether they are valid is not known yet.
    pub(super) filter: Vec<(Field, String)>,
    pub(super) before: Option<i64>,
    pub(super) limit: Option<i64>,
}

/// What changes something; operators only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Pause(i64),
    Resume(i64),
    Enable(i64),
    Disable {
        webhook: i64,
        reason: Option<String>,
    },
    Test {
        webhook: i64,
        class: Option<String>,
    },
    /// One delivery.
    Retry(i64),
    /// Everything of a webhook that was given up.
    RetryWebhook(i64),
    Replay(Replay),
    /// A replay or backfill.
    CancelJob(i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replay {
    pub(super) webhook: i64,
    pub(super) since: String,
    pub(super) class: Option<String>,
    pub(super) object: Option<String>,
}

/// Parameters of the session that can be asked for; each has one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) value: &'static str,
    /// One, with the parameter's name.
    pub(super) columns: &'static [Column],
}

/// What concerns the session alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Session {
    Begin,
    Commit,
    Rollback,
    /// `SET`, which changes nothing here.
    Set,
    /// `RESET`, which changes nothing here.
    Reset,
    /// A prepared statement by its name, or all of them.
    Deallocate(Option<String>),
    Discard,
}
