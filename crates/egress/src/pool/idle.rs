//! The connections that are kept for the next request.
//!
//! Guarantees: at most `most` idle ones over all receivers, each for [`IDLE`] at most, also when no request comes any more. Those that
//! were idle for the longest time go first. A request that finds every connection in use waits for one of them, for [`PATIENCE`] at
//! most, before another one is opened.
//!
//! The first TLS connection to a receiver may turn out to be one for all (HTTP/2). So while it is made the other requests wait, for [`FIRST`] at
//! most. If it fails, one of them makes the next.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::connection::{Connection, Http1, Http2, IDLE, Key};

/// How long a request waits for a connection that is in use or being made. A TLS handshake takes about as long, and much more CPU.
const PATIENCE: Duration = Duration::from_millis(5);
/// How long requests wait for the first connection to a receiver.
const FIRST: Duration = Duration::from_millis(500);
/// How often idle connections are looked over.
const SWEEP: Duration = Duration::from_secs(10);

/// All of them.
pub(super) struct Idle {
    kept: Mutex<Kept>,
    /// Idle connections, over all receivers.
    most: usize,
}

#[derive(Default)]
struct Kept {
    by_key: HashMap<Key, Entry>,
    /// HTTP/1 connections among them.
    idle: usize,
    sweeping: bool,
}

#[derive(Default)]
struct Entry {
    h1: Vec<Http1>,
    h2: Vec<Arc<Http2>>,
    /// Requests that use a connection, or make one.
    busy: usize,
    first: First,
    /// Requests that wait for one of these connections, the first one first. Some may have given up.
    waiting: VecDeque<oneshot::Sender<Connection>>,
}

/// The first connection to a receiver.
#[derive(Debug, Default, PartialEq, Eq)]
enum First {
    #[default]
    None,
    /// One request makes it.
    UnderWay,
    Made,
}

impl Entry {
    fn is_empty(&self) -> bool {
        self.h1.is_empty() && self.h2.is_empty() && self.busy == 0
    }

    /// Hands an HTTP/1 connection to the first that waits for one; gives it back if nobody does.
    fn hand_over(&mut self, mut one: Http1) -> Option<Http1> {
        while let Some(waiting) = self.waiting.pop_front() {
            match waiting.send(Connection::Http1(one)) {
                Err(Connection::Http1(back)) => one = back,
                Ok(()) | Err(Connection::Http2(_)) => return None,
            }
        }
        Some(one)
    }

    /// Lets all that wait use an HTTP/2 connection, as many as it takes.
    fn let_in(&mut self, one: &Arc<Http2>) {
        while !self.waiting.is_empty() && one.enter() {
            let waiting = self.waiting.pop_front();
            let sent = waiting.map(|waiting| waiting.send(Connection::Http2(Arc::clone(one))));
            if !matches!(sent, Some(Ok(()))) {
                one.leave();
            }
        }
    }
}

/// Counts a request among those that use a connection, or make one.
pub(super) struct Busy {
    idle: Weak<Idle>,
    key: Key,
}

impl Busy {
    pub(super) const fn key(&self) -> &Key {
        &self.key
    }

    pub(super) fn idle(&self) -> Option<Arc<Idle>> {
        self.idle.upgrade()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Some(idle) = self.idle.upgrade() else { return };
        let mut kept = idle.lock();
        if let Some(entry) = kept.by_key.get_mut(&self.key) {
            entry.busy -= 1;
            if entry.is_empty() {
                kept.by_key.remove(&self.key);
            }
        }
    }
}

/// The connection for a request.
pub(super) enum Taken {
    Kept(Connection),
    /// The request opens a new one; if that is the first one to its receiver, others wait for it.
    New(Option<MakesFirst>),
}

/// Makes the first connection to a receiver. If it is dropped before there is one, the next request that waits makes it.
pub(super) struct MakesFirst {
    idle: Weak<Idle>,
    key: Key,
}

impl Drop for MakesFirst {
    fn drop(&mut self) {
        let Some(idle) = self.idle.upgrade() else { return };
        if let Some(entry) = idle.lock().by_key.get_mut(&self.key)
            && entry.first == First::UnderWay
        {
            entry.first = First::None;
            entry.waiting.clear();
        }
    }
}

impl Idle {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            kept: Mutex::default(),
            most: most.max(1),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request to `key`.
    pub(super) fn busy(self: &Arc<Self>, key: Key) -> Busy {
        self.lock().by_key.entry(key.clone()).or_default().busy += 1;
        Busy {
            idle: Arc::downgrade(self),
            key,
        }
    }

    /// A connection that can take a request; waits a moment for one if others use them all.
    pub(super) async fn take(self: &Arc<Self>, key: &Key) -> Taken {
        let first = Instant::now() + FIRST;
        loop {
            let (mut freed, until) = {
                let mut kept = self.lock();
                if let Some(found) = kept.find(key) {
                    return Taken::Kept(found);
                }
                let Some(entry) = kept.by_key.get_mut(key) else {
                    return Taken::New(None);
                };
                let until = match entry.first {
                    // Without TLS it is never one for all.
                    First::None if key.tls => {
                        entry.first = First::UnderWay;
                        return Taken::New(Some(MakesFirst {
                            idle: Arc::downgrade(self),
                            key: key.clone(),
                        }));
                    }
                    First::UnderWay => first,
                    // Only this request itself.
                    First::None | First::Made if entry.busy <= 1 => return Taken::New(None),
                    First::None | First::Made => Instant::now() + PATIENCE,
                };
                // The oldest give up first.
                while entry
                    .waiting
                    .pop_front_if(|waiting| waiting.is_closed())
                    .is_some()
                {}
                let (free, freed) = oneshot::channel();
                entry.waiting.push_back(free);
                (freed, until)
            };
            match timeout_at(until, &mut freed).await {
                Ok(Ok(handed)) => return Taken::Kept(handed),
                // The first connection was made, or failed. The time limit for waiting stays the same.
                Ok(Err(_)) => {}
                Err(_) => {
                    freed.close();
                    let handed = freed.try_recv().ok();
                    let found = handed.or_else(|| self.lock().find(key));
                    return found.map_or(Taken::New(None), Taken::Kept);
                }
            }
        }
    }

    /// Keeps an idle connection for the next request.
    pub(super) fn keep(self: &Arc<Self>, key: &Key, mut one: Http1) {
        one.since = Instant::now();
        one.meter.idle();
        let mut kept = self.lock();
        let waiting = kept
            .by_key
            .get_mut(key)
            .is_some_and(|entry| !entry.waiting.is_empty());
        if waiting && !one.expired(one.since) {
            let entry = kept.by_key.get_mut(key);
            match entry.and_then(|entry| entry.hand_over(one)) {
                Some(back) => one = back,
                None => return,
            }
        }
        if kept.idle >= self.most {
            kept.drop_oldest();
        }
        kept.by_key.entry(key.clone()).or_default().h1.push(one);
        kept.idle += 1;
        self.sweep_from_now_on(&mut kept);
    }

    /// A connection is there: nobody waits for the first one any more. One for many is kept for others, too.
    pub(super) fn opened(self: &Arc<Self>, key: &Key, one: &Connection) {
        let mut kept = self.lock();
        let entry = kept.by_key.entry(key.clone()).or_default();
        if let Connection::Http2(one) = one {
            // Several may have been opened at once: one that can take more is enough to keep.
            if entry.h2.iter().all(|other| !other.has_room()) {
                entry.h2.push(Arc::clone(one));
            }
            entry.let_in(one);
        }
        if std::mem::replace(&mut entry.first, First::Made) == First::UnderWay {
            entry.waiting.clear();
        }
        if matches!(one, Connection::Http2(_)) {
            self.sweep_from_now_on(&mut kept);
        }
    }

    /// Starts the task that closes idle connections, unless it runs; so they are closed even if no request comes any more.
    fn sweep_from_now_on(self: &Arc<Self>, kept: &mut Kept) {
        if std::mem::replace(&mut kept.sweeping, true) {
            return;
        }
        let shared = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let Some(shared) = shared.upgrade() else { return };
                let mut kept = shared.lock();
                kept.sweep(Instant::now(), shared.most);
                if kept.by_key.is_empty() {
                    kept.sweeping = false;
                    return;
                }
            }
        });
    }
}

impl Kept {
    /// A connection that can take a request at once.
    fn find(&mut self, key: &Key) -> Option<Connection> {
        let now = Instant::now();
        let entry = self.by_key.get_mut(key)?;
        let shared = !entry.h2.is_empty();
        entry.h2.retain(|one| !one.expired(now));
        if shared && entry.h2.is_empty() {
            // The next one may be one for all again.
            entry.first = First::None;
        }
        if let Some(one) = entry.h2.iter().find(|one| one.enter()) {
            return Some(Connection::Http2(Arc::clone(one)));
        }
        // The most recently used one first, so that the others become idle for long enough to be closed.
        while let Some(one) = entry.h1.pop() {
            self.idle -= 1;
            if !one.expired(now) && one.sender.is_ready() {
                return Some(Connection::Http1(one));
            }
        }
        None
    }

    fn sweep(&mut self, now: Instant, most: usize) {
        for entry in self.by_key.values_mut() {
            entry
                .h1
                .retain(|one| !one.expired(now) && one.since + IDLE > now && !one.sender.is_closed());
            entry
                .h2
                .retain(|one| !one.expired(now) && !one.idle_too_long(now));
        }
        self.by_key.retain(|_, entry| !entry.is_empty());
        self.idle = self.by_key.values().map(|entry| entry.h1.len()).sum();
        let quiet = |one: &Arc<Http2>| one.streams.load(Ordering::Relaxed) == 0;
        let mut quiet: Vec<(Instant, Key, usize)> = self
            .by_key
            .iter()
            .flat_map(|(key, entry)| {
                let quiet = entry.h2.iter().enumerate().filter(|(_, one)| quiet(one));
                quiet.map(|(at, one)| (*one.lock_since(), key.clone(), at))
            })
            .collect();
        if self.idle + quiet.len() > most {
            quiet.sort_by_key(|(since, ..)| *since);
            let many = self.idle + quiet.len() - most;
            for (_, key, at) in quiet.into_iter().take(many) {
                if let Some(one) = self.by_key.get(&key).and_then(|entry| entry.h2.get(at)) {
                    one.retired.store(true, Ordering::Relaxed);
                }
            }
            for entry in self.by_key.values_mut() {
                entry.h2.retain(|one| !one.expired(now));
            }
        }
    }

    fn drop_oldest(&mut self) {
        let oldest = self
            .by_key
            .iter()
            .filter_map(|(key, entry)| entry.h1.first().map(|one| (one.since, key)))
            .min_by_key(|(since, _)| *since)
            .map(|(_, key)| key.clone());
        if let Some(entry) = oldest.and_then(|key| self.by_key.get_mut(&key)) {
            entry.h1.remove(0);
            self.idle -= 1;
        }
    }
}

#[cfg(test)]
mod tests;
