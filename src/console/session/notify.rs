//! `LISTEN events`: a notification for each attempt of a delivery that this process makes.
//!
//! Guarantee: a client that reads too slowly delays nobody, and learns how many attempts it was not told of.

use std::sync::Arc;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::delivery::Watched;
use crate::terminal::Json;

/// Attempts of this process.
pub(super) type Attempts = Receiver<Arc<Watched>>;

/// What is to be told.
pub(super) enum Heard {
    Attempt(Arc<Watched>),
    /// So many attempts were made while the client did not read.
    Missed(u64),
}

/// Waits for the next attempt; forever if nobody listens. Safe to cancel.
pub(super) async fn next(listening: &mut Option<Attempts>) -> Heard {
    if let Some(attempts) = listening {
        match attempts.recv().await {
            Ok(attempt) => return Heard::Attempt(attempt),
            Err(RecvError::Lagged(count)) => return Heard::Missed(count),
            Err(RecvError::Closed) => {}
        }
    }
    std::future::pending().await
}

/// The next attempt, if there is one already.
pub(super) fn next_now(listening: &mut Option<Attempts>) -> Option<Heard> {
    match listening.as_mut()?.try_recv() {
        Ok(attempt) => Some(Heard::Attempt(attempt)),
        Err(TryRecvError::Lagged(count)) => Some(Heard::Missed(count)),
        Err(TryRecvError::Empty | TryRecvError::Closed) => None,
    }
}

/// The payload of a notification, as JSON.
pub(super) fn payload(heard: &Heard) -> String {
    let value = match heard {
        Heard::Attempt(attempt) => serde_json::json!(**attempt),
        Heard::Missed(count) => serde_json::json!({ "missed": count }),
    };
    Json(value).to_string()
}
