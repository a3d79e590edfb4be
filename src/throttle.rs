//! Slows down guessing of passwords, by the client's address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::shares::networks;

/// How many failures an address may have in a row.
const BURST: u32 = 50;
/// After each such time one more is allowed.
const EACH: Duration = Duration::from_secs(3);
/// A network of many clients may have this many times the failures of one client.
const WIDE: u32 = 10;
/// How many networks are remembered at most.
const MOST: usize = 10_000;

/// Counts attempts by client, and by the wider network of an IPv6 client; bounded in size. An attempt is charged before it is
/// checked, so that attempts at the same time count, and refunded if it was right.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// When each network will have all its attempts back.
    clear_at: Mutex<HashMap<IpNet, Instant>>,
}

impl Throttle {
    /// Charges an attempt.
    ///
    /// # Errors
    /// How long to wait, if there were too many.
    pub(crate) fn charge(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut clear_at = self.clear_at.lock().unwrap_or_else(PoisonError::into_inner);
        if clear_at.len() >= MOST {
            clear_at.retain(|_, at| *at > now);
        }
        let limit = now + EACH * BURST;
        let charged = costs(address).map(|(network, cost)| {
            let at = clear_at.get(&network).copied().unwrap_or(now);
            (network, at.max(now) + cost)
        });
        let charged: Vec<(IpNet, Instant)> = charged.collect();
        if let Some(latest) = charged.iter().map(|(_, next)| *next).max()
            && latest > limit
        {
            return Err(latest - limit);
        }
        for (network, next) in charged {
            if clear_at.len() >= MOST && !clear_at.contains_key(&network) {
                // Thousands of addresses are guessing: forget the oldest to remember this one.
                if let Some(oldest) = clear_at.iter().min_by_key(|(_, at)| **at).map(|(key, _)| *key) {
                    clear_at.remove(&oldest);
                }
            }
            clear_at.insert(network, next);
        }
        Ok(())
    }

    /// Refunds an attempt that was right.
    pub(crate) fn refund(&self, address: IpAddr) {
        let mut clear_at = self.clear_at.lock().unwrap_or_else(PoisonError::into_inner);
        for (network, cost) in costs(address) {
            if let Some(at) = clear_at.get_mut(&network)
                && let Some(back) = at.checked_sub(cost)
            {
                *at = back;
            }
        }
    }
}

/// What an attempt costs a client, and the wider network that it is in.
fn costs(address: IpAddr) -> impl Iterator<Item = (IpNet, Duration)> {
    networks(address).zip([EACH, EACH / WIDE])
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

    /// Anybody can get a /48, and it counts as 65,536 clients.
    #[test]
    fn many_clients_of_one_wide_network_are_slowed_down_together() {
        let throttle = Throttle::default();
        let now = Instant::now();
        let address = |n: u32| format!("2001:db8:1:{n:x}::1").parse::<IpAddr>().unwrap();
        let let_through = (0..5000).filter(|n| throttle.charge(address(*n), now).is_ok());
        assert_eq!(let_through.count(), usize::try_from(BURST * WIDE).unwrap());
        throttle.refund(address(0));
        assert!(throttle.charge(address(7000), now).is_ok());
        // One of them alone has what every client has, and others are not concerned.
        assert!(throttle.charge("2001:db8:2::1".parse().unwrap(), now).is_ok());
        let throttle = Throttle::default();
        assert_eq!(
            (0..100)
                .filter(|_| throttle.charge(address(0), now).is_ok())
                .count(),
            50
        );
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
