//! The sessions that are open, so that a request to cancel finds the one that it is for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use subtle::ConstantTimeEq as _;
use tokio::sync::Notify;

use crate::random::{NoRandom, random};

/// The open sessions; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Sessions {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    last: i32,
    open: HashMap<i32, Entry>,
}

#[derive(Debug)]
struct Entry {
    key: [u8; 4],
    cancel: Arc<Notify>,
}

/// A session's entry; it goes when it is dropped.
#[derive(Debug)]
pub(super) struct Registered {
    sessions: Sessions,
    pub(super) pid: i32,
    pub(super) key: [u8; 4],
    /// Rings when somebody asks to cancel what the session does.
    pub(super) cancel: Arc<Notify>,
}

impl Sessions {
    /// Enters a new session.
    pub(super) fn enter(&self) -> Result<Registered, NoRandom> {
        let key = random::<4>()?;
        let cancel = Arc::new(Notify::new());
        let mut state = self.lock();
        // Two billion sessions later a number may still be in use.
        loop {
            state.last = state.last.checked_add(1).unwrap_or(1);
            if !state.open.contains_key(&state.last) {
                break;
            }
        }
        let pid = state.last;
        let entry = Entry {
            key,
            cancel: Arc::clone(&cancel),
        };
        state.open.insert(pid, entry);
        Ok(Registered {
            sessions: self.clone(),
            pid,
            key,
            cancel,
        })
    }

    /// Asks a session to cancel what it does; `false` if there is none with this number and key.
    pub(super) fn cancel(&self, pid: i32, key: [u8; 4]) -> bool {
        let state = self.lock();
        let Some(entry) = state.open.get(&pid).filter(|entry| entry.key.ct_eq(&key).into()) else {
            return false;
        };
        // Only who waits now is woken: an idle session does not cancel its next command.
        entry.cancel.notify_waiters();
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.sessions.lock().open.remove(&self.pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_who_has_the_key_cancels_and_only_what_runs() {
        let sessions = Sessions::default();
        let (one, other) = (sessions.enter().unwrap(), sessions.enter().unwrap());
        assert_ne!(one.pid, other.pid);
        let wrong = one.key.map(|byte| byte ^ 1);
        assert!(!sessions.cancel(one.pid, wrong) && !sessions.cancel(99, one.key));
        // Nobody waits: the next command is not cancelled.
        assert!(sessions.cancel(one.pid, one.key));
        let bell = Arc::clone(&one.cancel);
        let cancelled = bell.notified();
        tokio::pin!(cancelled);
        assert!(futures::poll!(cancelled.as_mut()).is_pending());
        assert!(sessions.cancel(one.pid, one.key));
        cancelled.await;
        let (pid, key) = (one.pid, one.key);
        drop(one);
        assert!(!sessions.cancel(pid, key));
    }
}
