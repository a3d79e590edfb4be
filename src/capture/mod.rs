//! Capture: from a write in OpenRegister's tables to a [`Change`] in the reader's hands.
//!
//! Guarantees: a committed change is read at least once and in per-row commit order; a change that was rolled back is
//! never read; the host's writes succeed, fail and answer exactly as without us (`sql/` says how).

mod adopt;
mod adopted;
mod batch;
mod bisection;
mod change;
pub(crate) mod condition;
mod consumer;
mod discovery;
mod doorbell;
mod fault;
mod gap;
mod gaps;
pub(crate) mod inspection;
mod install;
mod leader;
pub(crate) mod locks;
mod loss_notices;
mod losses;
pub(crate) mod metrics;
pub mod outbox;
mod pace;
pub(crate) mod position;
pub(crate) mod quarantine;
pub(crate) mod queries;
mod reader;
mod reading;
mod rotation;
mod row;
mod run;
mod settings;
mod status;
mod transaction;
mod unread;

pub use adopt::{AdoptError, Adopted, Decision, adopt};
pub use change::{Change, ChangeKey, Lsn, Op, Origin, Xid};
pub use consumer::{Consumer, ReadError};
pub use fault::Fault;
pub use gap::Gap;
pub use install::{InstallError, InstallOptions, Installed, install, uninstall};
pub(crate) use install::{foreign_objects, known_version};
pub use leader::SAFETY_POLL;
pub use loss_notices::LossNotices;
pub use position::{Identity, LoadError, NoSnapshot};
pub(crate) use quarantine::uuid_in;
pub use quarantine::{QuarantineEntry, QuarantineOutcome};
pub use run::run;
pub use settings::{CaptureSettings, DoorbellMode, OutboxLimits, OutboxPolicy};
pub use status::CaptureStatus;
pub use transaction::{Answer, BatchTransaction};
