//! How many connections the console takes, and how long it waits for them.

use std::time::Duration;

/// How many connections the console takes, and how long it waits for them. While at most a quarter of the connections is free, the
/// shorter times count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections that are open at the same time; one client gets at most half of them.
    pub connections: usize,
    /// How long a client may take to log in.
    pub login: Duration,
    pub login_while_scarce: Duration,
    /// How long a session may do nothing.
    pub idle: Duration,
    pub idle_while_scarce: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2048,
            login: Duration::from_secs(15),
            login_while_scarce: Duration::from_secs(5),
            idle: Duration::from_secs(3600),
            idle_while_scarce: Duration::from_secs(60),
        }
    }
}

impl Limits {
    pub(super) const fn login(&self, scarce: bool) -> Duration {
        if scarce {
            self.login_while_scarce
        } else {
            self.login
        }
    }

    pub(super) const fn idle(&self, scarce: bool) -> Duration {
        if scarce { self.idle_while_scarce } else { self.idle }
    }
}
