//! When a failed delivery is tried again, and when it is given up.
//!
//! Guarantees: a pure function; the spread comes from the delivery's id, so the same delivery always has the same schedule.

use std::time::Duration;

use crate::backoff::spread;
use crate::registry::RetryPolicy;

/// The longest wait that `Retry-After` can ask for.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The wait after attempt number `attempt` (1 is the first) of the delivery `id`; `None` when no attempt is left.
pub(crate) fn delay(
    policy: &RetryPolicy,
    id: i64,
    attempt: u32,
    retry_after: Option<Duration>,
) -> Option<Duration> {
    if attempt >= policy.max_attempts {
        return None;
    }
    let place = (attempt.max(1) - 1) as usize;
    let base = policy
        .schedule
        .get(place)
        .or(policy.schedule.last())
        .copied()
        .unwrap_or(Duration::from_secs(5));
    let asked = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
    Some(spread(base, id, attempt).max(asked))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_default_schedule_has_ten_retries_within_ten_percent() {
        let policy = RetryPolicy::default();
        for id in 0..200 {
            for attempt in 1..=10 {
                let base = policy.schedule[attempt as usize - 1].as_secs_f64();
                let got = delay(&policy, id, attempt, None).unwrap().as_secs_f64();
                assert!(
                    (base * 0.9..=base * 1.1).contains(&got),
                    "attempt {attempt}: {got}"
                );
            }
            assert_eq!(delay(&policy, id, 11, None), None);
        }
    }

    #[test]
    fn retry_after_is_heeded_up_to_an_hour() {
        let policy = RetryPolicy::default();
        let of = |s| delay(&policy, 1, 1, Some(Duration::from_secs(s))).unwrap();
        assert!(of(1) >= Duration::from_millis(4500));
        assert_eq!(of(90), Duration::from_secs(90));
        assert_eq!(of(u64::MAX), MAX_RETRY_AFTER);
    }

    proptest! {
        #[test]
        fn there_is_always_an_end(id: i64, max in 1u32..50, attempt in 0u32..100, schedule in proptest::collection::vec(0u64..100_000, 0..5)) {
            let policy = RetryPolicy { max_attempts: max, schedule: schedule.into_iter().map(Duration::from_secs).collect() };
            prop_assert_eq!(delay(&policy, id, attempt, None).is_none(), attempt >= max);
        }
    }
}
