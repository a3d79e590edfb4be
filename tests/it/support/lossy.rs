//! The statements of the dispatcher whose answers a test can have lost.

pub(crate) use orw_testkit::lossy::How;
use orw_testkit::lossy::LossyProxy;

use super::postgres::Db;

/// A proxy in front of the database that loses answers of the dispatcher's statements.
pub(crate) type Lossy = LossyProxy<Statement>;

/// A planned loss of the answer to one of them.
pub(crate) type Loss = orw_testkit::lossy::Loss<Statement>;

/// Starts a proxy in front of the server of this database.
pub(crate) fn before(db: &Db) -> Lossy {
    Lossy::start(&db.server().postgres).unwrap()
}

/// What the dispatcher asks of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Statement {
    /// Becoming the owner of webhooks.
    Own,
    /// Taking leases.
    Claim,
    /// Writing outcomes down.
    Record,
    /// Handing leases back: among these outcomes is one of a delivery that was not tried.
    Release,
    /// Making the next row of a lane its head.
    Promote,
    /// The end of the transaction of the last three.
    Commit,
    /// A heartbeat.
    Renew,
    /// Giving back leases that nobody knows of.
    Reconcile,
    /// Reading the events that are to be sent.
    Read,
}

impl orw_testkit::lossy::Statement for Statement {
    fn of(sql: &str) -> Option<Self> {
        [
            ("INTO openregister_webhooks.webhook_owner", Self::Own),
            ("SET state = 'leased'", Self::Claim),
            ("m.outcome IN (", Self::Record),
            ("SET head = true", Self::Promote),
            ("COMMIT", Self::Commit),
            ("INTO openregister_webhooks.worker ", Self::Renew),
            ("UPDATE openregister_webhooks.worker ", Self::Renew),
            ("DELETE FROM openregister_webhooks.claim", Self::Reconcile),
            ("AS r(day, seq)", Self::Read),
        ]
        .into_iter()
        .find(|(mark, _)| sql.contains(mark))
        .map(|(_, statement)| statement)
    }
    fn bound(self, values: &[u8]) -> Self {
        match self {
            Self::Record if values.windows(8).any(|part| part == b"released") => Self::Release,
            other => other,
        }
    }
}
