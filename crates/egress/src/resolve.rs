//! Names to addresses.
//!
//! Guarantees: a name is looked up once for all who ask while that look-up is under way, and at most `MAX_LOOKUPS` run at once: so a name
//! server that does not answer occupies few threads, and a receiver that gets sixty connections at once does not cost sixty.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::sync::{Semaphore, oneshot};

/// Look-ups under way; each blocks a thread of its own.
const MAX_LOOKUPS: usize = 64;

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
                let _turn = turns.acquire_owned().await.map_err(io::Error::other)?;
                let found = tokio::net::lookup_host((host, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            }
        };
        Box::pin(async move {
            let found = under_way.join(host, look_up).await;
            found.map_err(|error| io::Error::new(error.kind(), error))
        })
    }
}

type Found = Result<Vec<IpAddr>, Arc<io::Error>>;
type LookUp = Shared<BoxFuture<'static, Found>>;

/// The look-ups under way, by name.
#[derive(Clone, Default)]
struct UnderWay(Arc<Mutex<HashMap<String, LookUp>>>);

impl fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnderWay").finish_non_exhaustive()
    }
}

impl UnderWay {
    /// Waits for the look-up of this name that is under way; if there is none, `look_up` becomes it. It runs in a task of its own: it cannot
    /// be cancelled, and keeps its place until it ends even if nobody waits any more.
    async fn join(
        &self,
        name: String,
        look_up: impl Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    ) -> Found {
        let (joined, mine) = {
            let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(joined) = under_way.get(&name) {
                (joined.clone(), None)
            } else {
                let (tell, told) = oneshot::channel();
                let told = told.map(|found| {
                    found.unwrap_or_else(|_| Err(Arc::new(io::Error::other("the look-up broke off"))))
                });
                let joined = told.boxed().shared();
                under_way.insert(name.clone(), joined.clone());
                (joined, Some(tell))
            }
        };
        if let Some(tell) = mine {
            let leaving = Leaving {
                under_way: self.clone(),
                name,
            };
            // Not under the lock: a runtime that ends drops the task at once.
            tokio::spawn(async move {
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
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut under_way = self.under_way.0.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn who_asks_for_a_name_that_is_looked_up_shares_the_answer_and_who_comes_later_asks_again() {
        let (under_way, asked, answer) = (
            UnderWay::default(),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(Notify::new()),
        );
        let ask = || {
            let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
            under_way.join("one.example".to_owned(), async move {
                asked.fetch_add(1, Ordering::Relaxed);
                answer.notified().await;
                Ok(vec![ADDRESS])
            })
        };
        let together = futures::future::join_all([ask(), ask(), ask()]);
        let other = under_way.join("other.example".to_owned(), async {
            Err(io::Error::other("no such name"))
        });
        let (found, failed, ()) = futures::join!(together, other, async { answer.notify_one() });
        assert!(found.into_iter().all(|one| one.unwrap() == [ADDRESS]));
        assert_eq!(failed.unwrap_err().to_string(), "no such name");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        answer.notify_one();
        assert_eq!(ask().await.unwrap(), [ADDRESS]);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        assert!(under_way.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_look_up_that_panics_or_that_nobody_waits_for_any_more_is_not_waited_for_by_the_next() {
        let under_way = UnderWay::default();
        let ask = |look_up| under_way.join("one.example".to_owned(), look_up);
        let broken: BoxFuture<'static, io::Result<Vec<IpAddr>>> = Box::pin(async { panic!("broken") });
        assert!(ask(broken).await.is_err());
        let answer = Arc::new(Notify::new());
        let waits = Arc::clone(&answer);
        let slow = Box::pin(async move {
            waits.notified().await;
            Ok(vec![ADDRESS])
        });
        assert!(futures::poll!(std::pin::pin!(ask(slow))).is_pending());
        answer.notify_one();
        // It goes on, and gives its answer to whoever asks meanwhile.
        let second = ask(Box::pin(async { Ok(Vec::new()) })).await.unwrap();
        assert_eq!(second, [ADDRESS]);
        assert!(ask(Box::pin(async { Ok(Vec::new()) })).await.unwrap().is_empty());
    }
}
