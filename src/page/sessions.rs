//! The logins of a sidecar that stands alone.
//!
//! Guarantees: a login ends when nobody used it for [`IDLE`], and after [`WHOLE`] in any case; ids are kept as hashes only; there are
//! not too many, and nobody's logins end those of others before their own. Logins are in memory: they end with the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::ocs::{Clock, Session};

/// How long a login may be left alone.
pub(crate) const IDLE: Duration = Duration::from_secs(30 * 60);
/// How long a login lasts at most.
pub(crate) const WHOLE: Duration = Duration::from_secs(12 * 60 * 60);
/// How many there are at most; the one that was used longest ago gives way.
const MOST: usize = 1000;
/// How many a user has at most; their own that was used longest ago gives way.
const MOST_OF_ONE: usize = 20;

struct Kept {
    session: Session,
    begun: Instant,
    used: Instant,
}

/// The logins.
pub(crate) struct Sessions {
    clock: Clock,
    entries: Mutex<HashMap<[u8; 32], Kept>>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self::with_clock(Arc::new(Instant::now))
    }
}

impl Sessions {
    pub(crate) fn with_clock(clock: Clock) -> Self {
        Self {
            clock,
            entries: Mutex::default(),
        }
    }

    /// Who is logged in with this id. `used`: whether a person did something, not a page that renews itself.
    pub(crate) fn get(&self, id: &str, used: bool) -> Option<Session> {
        let now = (self.clock)();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let key = hash(id);
        let kept = entries.get_mut(&key)?;
        if is_over(kept, now) {
            entries.remove(&key);
            return None;
        }
        if used {
            kept.used = now;
        }
        Some(kept.session.clone())
    }

    /// A new login under a new id.
    pub(crate) fn begin(&self, id: &str, session: Session) {
        let now = (self.clock)();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, kept| !is_over(kept, now));
        let oldest = |of: Option<&str>| {
            entries
                .iter()
                .filter(|(_, kept)| of.is_none_or(|user| kept.session.user == user))
                .min_by_key(|(_, kept)| kept.used)
                .map(|(key, _)| *key)
        };
        let own = entries.values().filter(|kept| kept.session.user == session.user);
        let gives_way = if own.count() >= MOST_OF_ONE {
            oldest(Some(&session.user))
        } else if entries.len() >= MOST {
            oldest(Some(&session.user)).or_else(|| oldest(None))
        } else {
            None
        };
        if let Some(key) = gives_way {
            entries.remove(&key);
        }
        let kept = Kept {
            session,
            begun: now,
            used: now,
        };
        entries.insert(hash(id), kept);
    }

    pub(crate) fn end(&self, id: &str) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.remove(&hash(id));
    }
}

fn is_over(kept: &Kept, now: Instant) -> bool {
    now.saturating_duration_since(kept.used) >= IDLE || now.saturating_duration_since(kept.begun) >= WHOLE
}

fn hash(id: &str) -> [u8; 32] {
    Sha256::digest(id.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No login yet, and the time that passes for them.
    fn clocked() -> (Sessions, Arc<Mutex<Duration>>) {
        let (begun, passed) = (Instant::now(), Arc::<Mutex<Duration>>::default());
        let clock: Clock = {
            let passed = Arc::clone(&passed);
            Arc::new(move || begun + *passed.lock().unwrap())
        };
        (Sessions::with_clock(clock), passed)
    }

    #[test]
    fn a_login_ends_when_it_is_idle_and_in_the_end() {
        let (sessions, passed) = clocked();
        let ann = Session {
            user: "ann".to_owned(),
            admin: true,
            app_id: None,
        };
        let at = |time: Duration| *passed.lock().unwrap() = time;
        sessions.begin("one", ann.clone());
        assert_eq!(sessions.get("two", true), None);
        at(IDLE - Duration::from_secs(1));
        assert_eq!(sessions.get("one", false), Some(ann.clone()));
        at(IDLE);
        assert_eq!(sessions.get("one", false), None, "what renews itself is no use");
        sessions.begin("one", ann.clone());
        let again = IDLE;
        let step = IDLE - Duration::from_secs(1);
        let mut time = Duration::ZERO;
        while time + step < WHOLE {
            time += step;
            at(again + time);
            assert_eq!(sessions.get("one", true), Some(ann.clone()));
        }
        at(again + WHOLE);
        assert_eq!(sessions.get("one", true), None);
        sessions.begin("one", ann);
        sessions.end("one");
        assert_eq!(sessions.get("one", true), None);
    }

    #[test]
    fn a_user_ends_their_own_logins_and_not_those_of_others() {
        let (sessions, passed) = clocked();
        let of = |user: &str| Session {
            user: user.to_owned(),
            admin: false,
            app_id: None,
        };
        sessions.begin("ann", of("ann"));
        for login in 0..=MOST_OF_ONE {
            *passed.lock().unwrap() += Duration::from_secs(1);
            sessions.begin(&format!("bob {login}"), of("bob"));
        }
        assert_eq!(sessions.get("bob 0", false), None);
        assert_eq!(sessions.get("bob 1", false), Some(of("bob")));
        // When every place is taken, whoever has a login gives up one of their own.
        for login in MOST_OF_ONE..MOST {
            *passed.lock().unwrap() += Duration::from_millis(1);
            let user = format!("user {}", login / MOST_OF_ONE);
            sessions.begin(&format!("login {login}"), of(&user));
        }
        assert_eq!(sessions.entries.lock().unwrap().len(), MOST);
        assert_eq!(sessions.get("login 980", false), None);
        assert_eq!(sessions.get("ann", false), Some(of("ann")));
        // Otherwise the one gives way that was used longest ago.
        sessions.begin("new", of("somebody new"));
        assert_eq!(sessions.get("ann", false), None);
        assert_eq!(sessions.get("login 981", false), Some(of("user 49")));
    }
}
