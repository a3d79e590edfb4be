//! The connections that are kept for the next request.
//!
//! Guarantees: at most [`MAX_IDLE`] idle ones, each for [`IDLE`] at most, also when no request comes any more.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::{Connection, Http1, Http2, IDLE, Key};

/// Idle connections, over all receivers and of one.
const MAX_IDLE: usize = 512;
const MAX_IDLE_EACH: usize = 64;
/// How often idle connections are looked over.
const SWEEP: Duration = Duration::from_secs(10);

/// All of them.
#[derive(Default)]
pub(super) struct Idle(Mutex<Kept>);

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
}

impl Idle {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that can take a request.
    pub(super) fn take(&self, key: &Key) -> Option<Connection> {
        let now = Instant::now();
        let mut kept = self.lock();
        let kept = &mut *kept;
        let entry = kept.by_key.get_mut(key)?;
        entry.h2.retain(|one| !one.expired(now));
        if let Some(one) = entry.h2.iter().find(|one| one.enter()) {
            return Some(Connection::Http2(Arc::clone(one)));
        }
        // The most recently used one first, so that the others become idle for long enough to be closed.
        while let Some(one) = entry.h1.pop() {
            kept.idle -= 1;
            if !one.expired(now) && one.sender.is_ready() {
                return Some(Connection::Http1(one));
            }
        }
        None
    }

    /// Keeps an idle connection for the next request.
    pub(super) fn keep(self: &Arc<Self>, key: Key, mut one: Http1) {
        one.since = Instant::now();
        one.meter.idle();
        let mut kept = self.lock();
        if kept.idle >= MAX_IDLE {
            kept.drop_oldest();
        }
        let entry = kept.by_key.entry(key).or_default();
        let full = entry.h1.len() >= MAX_IDLE_EACH;
        if full {
            entry.h1.remove(0);
        }
        entry.h1.push(one);
        kept.idle += usize::from(!full);
        self.sweep_from_now_on(&mut kept);
    }

    /// Keeps an HTTP/2 connection for others, too.
    pub(super) fn share(self: &Arc<Self>, key: &Key, one: &Arc<Http2>) {
        let mut kept = self.lock();
        let entry = kept.by_key.entry(key.clone()).or_default();
        // Several may have been opened at once: one that can take more is enough to keep.
        if entry.h2.iter().all(|other| !other.has_room()) {
            entry.h2.push(Arc::clone(one));
        }
        self.sweep_from_now_on(&mut kept);
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
                kept.sweep(Instant::now());
                if kept.by_key.is_empty() {
                    kept.sweeping = false;
                    return;
                }
            }
        });
    }
}

impl Kept {
    fn sweep(&mut self, now: Instant) {
        for entry in self.by_key.values_mut() {
            entry
                .h1
                .retain(|one| !one.expired(now) && one.since + IDLE > now && !one.sender.is_closed());
            entry
                .h2
                .retain(|one| !one.expired(now) && !one.idle_too_long(now));
        }
        self.by_key
            .retain(|_, entry| !(entry.h1.is_empty() && entry.h2.is_empty()));
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
        if self.idle + quiet.len() > MAX_IDLE {
            quiet.sort_by_key(|(since, ..)| *since);
            let many = self.idle + quiet.len() - MAX_IDLE;
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
