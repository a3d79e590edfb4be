//! What the capture of this process is doing.

use super::position::Identity;

/// What this process's capture is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptureStatus {
    /// Not connected, or failing; the text says why, for a person.
    Away(String),
    /// Another process leads.
    Standby,
    /// The position belongs to another cluster: nothing is delivered until `adopt`.
    Held {
        stored: Identity,
        current: Identity,
    },
    Leading,
}
