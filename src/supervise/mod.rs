//! Supervision: keeps those parts of the program running that run for as long as the process does.
//!
//! Guarantees: a part that panics, or that ends although nobody asked it to, is noticed at once. The log names it, [`Board`] (and through
//! it `/readyz` and the metrics) shows it as down until it runs again, and it is started again after a pause. If a part fails too
//! often for its [`Policy`], the process ends in good order, with an exit code of its own. A part that consists of several tasks holds
//! them as a crew, so that no task is unsupervised.

mod board;
mod crew;
pub(crate) mod ending;
mod failure;
mod policy;

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use board::Board;
pub(crate) use crew::Crew;
pub use failure::{PartFailure, Reported};
pub use policy::Policy;
use policy::Restarts;

/// A part that failed too often.
#[derive(Debug, thiserror::Error)]
#[error(
    "{failure}; it has been started again {} times within {} s, so the process ends", policy.restarts, policy.within.as_secs()
)]
pub struct KeepsFailing {
    failure: PartFailure,
    policy: Policy,
}

/// A part's connection to its supervisor: when to end, and where to report that a task failed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Part {
    name: &'static str,
    board: Board,
    shutdown: CancellationToken,
}

impl Part {
    /// A part that nobody supervises, for tests and for single commands.
    pub(crate) fn alone(name: &'static str) -> Self {
        Self {
            name,
            board: Board::default(),
            shutdown: CancellationToken::new(),
        }
    }

    /// Is cancelled when the part has to end.
    pub(crate) const fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Reports that something in the part failed. From now on the part counts as down, and it has to end.
    pub(crate) fn report(&self, failure: PartFailure) -> Reported {
        tracing::error!(part = failure.part(), "{failure}");
        self.board.down(self.name, &failure);
        Reported(failure)
    }
}

/// Starts parts, and starts those again that fail.
#[derive(Debug)]
pub struct Supervisor {
    board: Board,
    policy: Policy,
    shutdown: CancellationToken,
    keepers: JoinSet<Result<(), KeepsFailing>>,
}

impl Supervisor {
    /// A supervisor without parts. Parts end when `shutdown` is cancelled.
    #[must_use]
    pub fn new(board: Board, policy: Policy, shutdown: CancellationToken) -> Self {
        Self {
            board,
            policy,
            shutdown,
            keepers: JoinSet::new(),
        }
    }

    /// Cancelled when the process ends.
    pub(crate) const fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Starts a part. `make` is called for every start; the future that it makes ends at the shutdown, or after it has reported a
    /// failure.
    pub fn start<M, W>(&mut self, name: &'static str, make: M)
    where
        M: FnMut(Part) -> W + Send + 'static,
        W: Future<Output = Result<(), Reported>> + Send + 'static,
    {
        let part = Part {
            name,
            board: self.board.clone(),
            shutdown: self.shutdown.clone(),
        };
        self.board.known(name);
        self.keepers.spawn(keep(part, self.policy, make));
    }

    /// Starts a part that is a single task, which runs until its token is cancelled.
    pub fn start_simple<M, W>(&mut self, name: &'static str, mut make: M)
    where
        M: FnMut(CancellationToken) -> W + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        self.start(name, move |part| make(part.shutdown.clone()).map(Ok));
    }

    /// Waits until all parts have ended. They end at the shutdown, which a part that keeps failing causes, too. Parts that have not
    /// ended `within` that time after it are aborted.
    ///
    /// # Errors
    /// [`KeepsFailing`].
    pub async fn run(mut self, within: Duration) -> Result<(), KeepsFailing> {
        let mut failed = None;
        while failed.is_none() && !self.shutdown.is_cancelled() {
            tokio::select! {
                () = self.shutdown.cancelled() => {}
                Some(ended) = self.keepers.join_next() => failed = self.failure(ended),
            }
        }
        self.shutdown.cancel();
        let ended = async {
            while let Some(ended) = self.keepers.join_next().await {
                failed = failed.take().or(ended.ok().and_then(Result::err));
            }
        };
        if tokio::time::timeout(within, ended).await.is_err() {
            tracing::warn!(
                "aborted because they did not end within {} s: {}",
                within.as_secs(),
                self.board.running().join(", ")
            );
        }
        failed.map_or(Ok(()), Err)
    }

    fn failure(
        &self,
        ended: Result<Result<(), KeepsFailing>, tokio::task::JoinError>,
    ) -> Option<KeepsFailing> {
        match ended {
            Ok(ended) => ended.err(),
            Err(error) => Some(KeepsFailing {
                failure: PartFailure::of("supervisor", error),
                policy: self.policy,
            }),
        }
    }
}

/// Keeps one part running.
async fn keep<M, W>(part: Part, policy: Policy, mut make: M) -> Result<(), KeepsFailing>
where
    M: FnMut(Part) -> W,
    W: Future<Output = Result<(), Reported>>,
{
    let mut restarts = Restarts::default();
    loop {
        let work = crate::failpoint::guarded(part.name, make(part.clone()), Ok(()));
        let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
        part.board.up(part.name);
        let ended = tokio::select! {
            ended = &mut work => ended,
            () = part.shutdown.cancelled() => {
                // `make` may hold what has to be closed at the end, such as a listener.
                drop(make);
                if let Err(panic) = work.await {
                    tracing::error!(part = part.name, "{}", PartFailure::panicked(part.name, panic.as_ref()));
                }
                part.board.ended(part.name);
                return Ok(());
            }
        };
        if part.shutdown.is_cancelled() && matches!(ended, Ok(Ok(()))) {
            part.board.ended(part.name);
            return Ok(());
        }
        let Reported(failure) = match ended {
            Ok(Ok(())) => part.report(PartFailure::ended(part.name)),
            Ok(Err(reported)) => reported,
            Err(panic) => part.report(PartFailure::panicked(part.name, panic.as_ref())),
        };
        let Some(pause) = restarts.next(&policy, Instant::now()) else {
            let failing = KeepsFailing { failure, policy };
            tracing::error!(part = part.name, "{failing}");
            return Err(failing);
        };
        tracing::warn!(
            part = part.name,
            "{} is started again in {} ms",
            part.name,
            pause.as_millis()
        );
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = part.shutdown.cancelled() => {
                part.board.ended(part.name);
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests;
