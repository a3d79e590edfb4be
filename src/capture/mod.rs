//! Capture: from a write in OpenRegister's tables to a [`Change`] in the reader's hands.
//!
//! Guarantees: a committed change is read at least once and in per-row commit order; a change that was rolled back is
//! never read; the host's writes succeed, fail and answer exactly as without us (`sql/` says how).

mod adopt;
mod adopted;
mod bisection;
mod change;
mod discovery;
mod doorbell;
mod fault;
mod gaps;
mod install;
mod leader;
pub(crate) mod locks;
mod loss_notices;
mod losses;
mod migrations;
pub mod outbox;
pub(crate) mod position;
mod quarantine;
mod reader;
mod rotation;
mod run;
mod settings;

pub use adopt::{AdoptError, Adopted, Decision, adopt};
pub use change::{Change, ChangeKey, Lsn, Op, Origin, Xid};
pub use fault::Fault;
pub use gaps::Gap;
pub use install::{InstallError, InstallOptions, Installed, install, uninstall};
pub(crate) use install::{foreign_objects, known_version};
pub use loss_notices::LossNotices;
pub use position::{Identity, LoadError, NoSnapshot};
pub use quarantine::{QuarantineEntry, QuarantineOutcome};
pub(crate) use quarantine::{discarded, uuid_in};
pub use reader::{Consumer, ReadError};
pub use run::{CaptureStatus, SAFETY_POLL, run};
pub use settings::{CaptureSettings, DoorbellMode, OutboxLimits, OutboxPolicy};
