//! The callers whom Nextcloud accepted a moment ago, by a keyed hash of their credentials.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::session::{Digest, Session};

/// How long an answer of Nextcloud is valid.
pub(crate) const VALID: Duration = Duration::from_secs(30);
/// How many are kept.
const MOST: usize = 1000;

/// Tells the time. Tests have their own clock.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Sessions that Nextcloud confirmed: each for [`VALID`], and bounded in number.
pub(crate) struct SessionCache {
    clock: Clock,
    entries: Mutex<HashMap<Digest, (Session, Instant)>>,
}

impl std::fmt::Debug for SessionCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionCache").finish_non_exhaustive()
    }
}

impl SessionCache {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            entries: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        (self.clock)()
    }

    pub(crate) fn get(&self, key: &Digest) -> Option<Session> {
        let now = self.now();
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .get(key)
            .filter(|(_, asked)| now.saturating_duration_since(*asked) < VALID)
            .map(|(session, _)| session.clone())
    }

    /// Keeps a session. Its time counts from `asked`, when Nextcloud was asked, not from when it answered.
    pub(crate) fn put(&self, key: Digest, session: Session, asked: Instant) {
        let now = self.now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MOST && !entries.contains_key(&key) {
            entries.retain(|_, (_, asked)| now.saturating_duration_since(*asked) < VALID);
            if entries.len() >= MOST
                && let Some(oldest) = entries
                    .iter()
                    .min_by_key(|(_, (_, asked))| *asked)
                    .map(|(key, _)| *key)
            {
                entries.remove(&oldest);
            }
        }
        entries.insert(key, (session, asked));
    }

    pub(crate) fn forget(&self, key: &Digest) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(user: &str) -> Session {
        Session {
            user: user.to_owned(),
            admin: true,
            app_id: None,
        }
    }

    fn key(n: usize) -> Digest {
        let mut key = Digest::default();
        key[..8].copy_from_slice(&n.to_be_bytes());
        key
    }

    #[test]
    fn an_answer_dies_with_its_time_and_there_are_not_too_many() {
        let begun = Instant::now();
        let passed = Arc::new(Mutex::new(Duration::ZERO));
        let clock = {
            let passed = Arc::clone(&passed);
            Arc::new(move || begun + *passed.lock().unwrap())
        };
        let remembered = SessionCache::new(clock);
        remembered.put(key(0), session("a"), remembered.now());
        *passed.lock().unwrap() = VALID - Duration::from_millis(1);
        assert_eq!(remembered.get(&key(0)), Some(session("a")));
        assert_eq!(remembered.get(&key(1)), None);
        *passed.lock().unwrap() = VALID;
        assert_eq!(remembered.get(&key(0)), None);
        for n in 0..MOST + 50 {
            remembered.put(key(n), session("b"), remembered.now());
        }
        assert!(remembered.entries.lock().unwrap().len() <= MOST);
        assert_eq!(remembered.get(&key(MOST + 49)), Some(session("b")));
        remembered.forget(&key(MOST + 49));
        assert_eq!(remembered.get(&key(MOST + 49)), None);
    }
}
