//! CPU time of processes, user and system, from `/proc`.

use std::collections::BTreeMap;
use std::ops::{Add, Sub};
use std::time::Duration;

/// The unit of `/proc/PID/stat` is a hundredth of a second on every Linux that this is built for (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// CPU time that was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl Cpu {
    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }

    /// Microseconds for each of `count` things.
    pub(crate) fn micros_each(self, count: u64) -> f64 {
        micros_each(self.total(), count)
    }
}

impl Add for Cpu {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            user: self.user + other.user,
            system: self.system + other.system,
        }
    }
}

impl Sub for Cpu {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self {
            user: self.user.saturating_sub(other.user),
            system: self.system.saturating_sub(other.system),
        }
    }
}

/// Microseconds of `time` for each of `count` things.
pub(crate) fn micros_each(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / f64::from(u32::try_from(count.max(1)).expect("a count of this benchmark"))
}

/// What processes had used at a moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Used(BTreeMap<u32, Cpu>);

impl Used {
    /// Of these processes; one that has ended is left out.
    pub(crate) fn by(processes: impl IntoIterator<Item = u32>) -> Self {
        Self(
            processes
                .into_iter()
                .filter_map(|pid| Some((pid, of(pid)?)))
                .collect(),
        )
    }

    /// What the processes of `self` have used since `before`; one that is new there counts from its beginning.
    pub(crate) fn since(&self, before: &Self) -> Cpu {
        let used = |(pid, now): (&u32, &Cpu)| *now - before.0.get(pid).copied().unwrap_or_default();
        self.0.iter().map(used).fold(Cpu::default(), Add::add)
    }
}

/// What a process has used; `None` if it has ended.
fn of(pid: u32) -> Option<Cpu> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; utime and stime are the 14th and 15th field (proc(5)).
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || -> Option<u32> { fields.next()?.parse().ok() };
    let (user, system) = (TICK * ticks()?, TICK * ticks()?);
    let Some(exact) = exactly(pid, user + system) else {
        return Some(Cpu { user, system });
    };
    let ticks = (user + system).as_secs_f64();
    let share = if ticks > 0.0 {
        user.as_secs_f64() / ticks
    } else {
        1.0
    };
    let user = exact.mul_f64(share);
    Some(Cpu {
        user,
        system: exact.saturating_sub(user),
    })
}

/// To the nanosecond, of the threads that live now; `None` if threads have ended and took more than a moment of it with them.
fn exactly(pid: u32, coarsely: Duration) -> Option<Duration> {
    let mut exact = Duration::ZERO;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let schedstat = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        exact += Duration::from_nanos(schedstat.split_whitespace().next()?.parse().ok()?);
    }
    (coarsely < exact + 2 * TICK).then_some(exact)
}
