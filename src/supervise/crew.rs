//! The tasks of one part.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

use super::PartFailure;

/// Tasks that live as long as their part. Dropping the crew aborts them.
#[derive(Debug, Default)]
pub(crate) struct Crew {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Crew {
    pub(crate) fn spawn(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(crate::failpoint::guarded(name, work, ()));
        self.names.insert(task.id(), name);
    }

    /// Waits until one of the tasks ends, which is a failure: none of them ends while the part works. Cancel-safe.
    pub(crate) async fn failure(&mut self) -> PartFailure {
        let Some(ended) = self.tasks.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let (name, ended) = self.named(ended);
        ended.map_or_else(
            |error| PartFailure::of(name, error),
            |()| PartFailure::ended(name),
        )
    }

    /// Waits until the task of this name, which has been asked to end, has ended; waits `time` at most.
    pub(crate) async fn ended(&mut self, wanted: &str, time: Duration) {
        let until = Instant::now() + time;
        while self.names.values().any(|name| *name == wanted) && self.next(until).await {}
    }

    /// Waits until all tasks, which have been asked to end, have ended; waits `time` at most, then aborts the rest.
    pub(crate) async fn all_ended(mut self, time: Duration) {
        let until = Instant::now() + time;
        while self.next(until).await {}
        if !self.names.is_empty() {
            let names: Vec<&str> = self.names.into_values().collect();
            tracing::warn!("aborted because they did not end in time: {}", names.join(", "));
        }
    }

    /// Waits for the next task to end; whether one ended before `until`.
    async fn next(&mut self, until: Instant) -> bool {
        let Ok(Some(ended)) = timeout_at(until, self.tasks.join_next_with_id()).await else {
            return false;
        };
        if let (name, Err(error)) = self.named(ended) {
            tracing::error!(part = name, "{}", PartFailure::of(name, error));
        }
        true
    }

    fn named(&mut self, ended: Result<(Id, ()), JoinError>) -> (&'static str, Result<(), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        // Every task was given a name.
        let name = self.names.remove(&id).unwrap_or("task");
        (name, ended.map(drop))
    }
}
