//! Names to addresses.
//!
//! Guarantees: a name is looked up once for all who ask at about the same time: so a receiver that gets sixty connections at once does not cost
//! sixty threads. At most `MAX_LOOKUPS` run at once, and one that nobody waits for any more does not begin.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

/// Look-ups under way; each blocks a thread of its own.
const MAX_LOOKUPS: usize = 64;
/// An older look-up is not shared: a packet of it may have been lost, which its resolver finds out after seconds.
const SHARED: Duration = Duration::from_secs(1);

/// Resolves names. Its answers are not trusted: the guard judges every address.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `host` (lower case, no trailing dot), in the order in which to try them.
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The operating system's resolver, with `/etc/hosts` and everything else that belongs to it.
#[derive(Debug, Clone)]
pub struct SystemResolver {
    turns: Arc<Semaphore>,
    under_way: UnderWay,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            under_way: UnderWay::default(),
        }
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let (host, turns, under_way) = (host.to_owned(), Arc::clone(&self.turns), self.under_way.clone());
        let look_up = {
            let host = host.clone();
            async move {
                let found = tokio::net::lookup_host((host, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            }
        };
        Box::pin(async move {
            let found = under_way.join(host, turns, look_up).await;
            found.map_err(|error| io::Error::new(error.kind(), error))
        })
    }
}

type Found = Result<Vec<IpAddr>, Arc<io::Error>>;
type LookUp = Shared<BoxFuture<'static, Found>>;
type WeakLookUp = WeakShared<BoxFuture<'static, Found>>;

/// The look-ups under way, by name: since when, and where the answer comes as long as somebody waits for it.
#[derive(Clone, Default)]
struct UnderWay(Arc<Mutex<HashMap<String, (Instant, WeakLookUp)>>>);

impl fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnderWay").finish_non_exhaustive()
    }
}

impl UnderWay {
    /// Waits for the look-up of this name that is under way; if there is none, `look_up` becomes it. It runs in a task of its own: it cannot
    /// be cancelled, and keeps its turn until it ends even if nobody waits any more.
    async fn join(
        &self,
        name: String,
        turns: Arc<Semaphore>,
        look_up: impl Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    ) -> Found {
        let now = Instant::now();
        let (joined, mine) = {
            let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let joined = under_way
                .get(&name)
                .filter(|(since, _)| *since + SHARED > now)
                .and_then(|(_, look_up)| look_up.upgrade());
            if let Some(joined) = joined {
                (joined, None)
            } else {
                let (tell, told) = oneshot::channel();
                let broke_off = |_| Err(Arc::new(io::Error::other("the look-up broke off")));
                let joined: LookUp = told
                    .map(move |found| found.unwrap_or_else(broke_off))
                    .boxed()
                    .shared();
                if let Some(weak) = joined.downgrade() {
                    under_way.insert(name.clone(), (now, weak));
                }
                (joined, Some(tell))
            }
        };
        if let Some(mut tell) = mine {
            let leaving = Leaving {
                under_way: self.clone(),
                name,
                since: now,
            };
            // Not under the lock: a runtime that ends drops the task at once.
            tokio::spawn(async move {
                let _turn = tokio::select! {
                    turn = turns.acquire_owned() => turn,
                    () = tell.closed() => return,
                };
                let found = look_up.await.map_err(Arc::new);
                drop(leaving);
                // If nobody waits any more, nobody is told.
                let _ = tell.send(found);
            });
        }
        joined.await
    }
}

/// Takes a look-up away when it ends, however it ends.
struct Leaving {
    under_way: UnderWay,
    name: String,
    since: Instant,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut under_way = self.under_way.0.lock().unwrap_or_else(PoisonError::into_inner);
        if under_way
            .get(&self.name)
            .is_some_and(|(since, _)| *since == self.since)
        {
            under_way.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn turns() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(1))
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_a_name_that_is_looked_up_shares_the_answer_and_who_comes_later_asks_again() {
        let (under_way, asked, answer) = (
            UnderWay::default(),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(Notify::new()),
        );
        let ask = || {
            let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
            under_way.join("one.example".to_owned(), turns(), async move {
                asked.fetch_add(1, Ordering::Relaxed);
                answer.notified().await;
                Ok(vec![ADDRESS])
            })
        };
        let together = futures::future::join_all([ask(), ask(), ask()]);
        let fails = async { Err(io::Error::other("no such name")) };
        let other = under_way.join("other.example".to_owned(), turns(), fails);
        let (found, failed, ()) = futures::join!(together, other, async { answer.notify_one() });
        assert!(found.into_iter().all(|one| one.unwrap() == [ADDRESS]));
        assert_eq!(failed.unwrap_err().to_string(), "no such name");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        answer.notify_one();
        assert_eq!(ask().await.unwrap(), [ADDRESS]);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        // One that takes long is not shared for ever.
        let (first, second, ()) = futures::join!(
            ask(),
            async {
                tokio::time::sleep(SHARED).await;
                ask().await
            },
            async {
                tokio::time::sleep(2 * SHARED).await;
                answer.notify_one();
                tokio::time::sleep(SHARED).await;
                answer.notify_one();
            }
        );
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 4);
        assert!(under_way.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_look_up_that_panics_or_that_nobody_waits_for_any_more_is_not_waited_for_by_the_next() {
        let (under_way, turns) = (UnderWay::default(), turns());
        let ask = |look_up| under_way.join("one.example".to_owned(), Arc::clone(&turns), look_up);
        let broken: BoxFuture<'static, io::Result<Vec<IpAddr>>> = Box::pin(async { panic!("broken") });
        assert!(ask(broken).await.is_err());
        // Its turn never comes, since another one has it; then nobody waits any more.
        let turn = turns.acquire().await.unwrap();
        let never = Box::pin(async { panic!("this look-up was given up") });
        assert!(futures::poll!(std::pin::pin!(ask(never))).is_pending());
        while !under_way.0.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        drop(turn);
        assert_eq!(
            ask(Box::pin(async { Ok(vec![ADDRESS]) })).await.unwrap(),
            [ADDRESS]
        );
    }
}
