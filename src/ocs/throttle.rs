//! Slows down whoever guesses passwords, by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::shares::network;

/// Failures that an address may have at once.
const BURST: u32 = 50;
/// After this time one more is allowed.
const EACH: Duration = Duration::from_secs(3);
/// Addresses that are remembered.
const MOST: usize = 10_000;

/// Counts attempts by address; bounded. An attempt is charged before it is checked, so that many at once count
/// as many, and given back when it was right.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// When each address will have all its attempts back.
    clear_at: Mutex<HashMap<IpAddr, Instant>>,
}

impl Throttle {
    /// Charges an attempt.
    ///
    /// # Errors
    /// How long to wait, where there were too many.
    pub(crate) fn charge(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut clear_at = self.clear_at.lock().unwrap_or_else(PoisonError::into_inner);
        if clear_at.len() >= MOST {
            clear_at.retain(|_, at| *at > now);
        }
        let key = network(address);
        if clear_at.len() >= MOST && !clear_at.contains_key(&key) {
            // Thousands of addresses are guessing: make room for this one, whoever it is.
            if let Some(oldest) = clear_at.iter().min_by_key(|(_, at)| **at).map(|(key, _)| *key) {
                clear_at.remove(&oldest);
            }
        }
        let at = clear_at.entry(key).or_insert(now);
        let next = (*at).max(now) + EACH;
        let limit = now + EACH * BURST;
        if next > limit {
            return Err(next - limit);
        }
        *at = next;
        Ok(())
    }

    /// Gives an attempt back: it was right.
    pub(crate) fn refund(&self, address: IpAddr) {
        let mut clear_at = self.clear_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = clear_at.get_mut(&network(address))
            && let Some(back) = at.checked_sub(EACH)
        {
            *at = back;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_run_out_and_come_back() {
        let throttle = Throttle::default();
        let now = Instant::now();
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..BURST {
            throttle.charge(address, now).unwrap();
        }
        assert_eq!(throttle.charge(address, now), Err(EACH));
        assert!(throttle.charge("192.0.2.2".parse().unwrap(), now).is_ok());
        assert!(throttle.charge(address, now + EACH).is_ok());
        assert!(throttle.charge(address, now + EACH).is_err());
        throttle.refund(address);
        assert!(throttle.charge(address, now + EACH).is_ok());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for i in 0..u32::try_from(MOST).unwrap() + 100 {
            throttle.charge(IpAddr::V4(i.into()), now).unwrap();
        }
        assert!(throttle.clear_at.lock().unwrap().len() <= MOST);
    }
}
