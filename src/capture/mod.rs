//! Capture: from a write in OpenRegister's tables to a [`Change`] in the reader's hands.
//!
//! Guarantees: a committed change is read at least once and in per-row commit order; a change that was rolled back is
//! never read; the host's writes succeed, fail and answer exactly as without us (`sql/` says how).

mod change;

pub use change::{Change, ChangeKey, Lsn, Op, Origin, Xid};
