//! Places that client networks share fairly.
//!
//! Guarantee: however many places a few networks take, a place is left for another one. The rule: a network gets a place only while
//! it holds fewer places than are free. So one network gets at most half of all places; if `k` networks take all they can get, at
//! least one in 2^k places stays free.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use tokio::sync::Notify;

/// A bounded number of places; cheap to share.
#[derive(Debug)]
pub(crate) struct Shares {
    total: usize,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// How many places each network holds; at most twice as many entries as places.
    held: HashMap<IpNet, usize>,
}

impl Shares {
    pub(crate) fn new(total: usize) -> Arc<Self> {
        Arc::new(Self {
            total,
            state: Mutex::default(),
            freed: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a client; `None` if one of its networks holds as many as are free.
    pub(crate) fn take(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let mut state = self.state();
        let free = self.total - state.taken;
        let held = |network| state.held.get(&network).copied().unwrap_or(0);
        if networks(client).any(|network| held(network) >= free) {
            return None;
        }
        state.taken += 1;
        for network in networks(client) {
            *state.held.entry(network).or_default() += 1;
        }
        Some(Place {
            shares: Arc::clone(self),
            client: Some(client),
        })
    }

    /// A place for a proxy that speaks for many clients; `None` if none is free.
    pub(crate) fn take_for_many(self: &Arc<Self>) -> Option<Place> {
        let mut state = self.state();
        if state.taken >= self.total {
            return None;
        }
        state.taken += 1;
        Some(Place {
            shares: Arc::clone(self),
            client: None,
        })
    }

    /// Whether at most a quarter of the places is free: then everybody has to be quicker.
    pub(crate) fn scarce(&self) -> bool {
        let free = self.total - self.state().taken;
        free * 4 <= self.total
    }

    /// Waits until a place is free. Only one task may wait, and no other may take places in the meantime.
    pub(crate) async fn room(&self) {
        loop {
            let freed = self.freed.notified();
            if self.state().taken < self.total {
                return;
            }
            freed.await;
        }
    }
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shares: Arc<Shares>,
    client: Option<IpAddr>,
}

impl Place {
    pub(crate) fn scarce(&self) -> bool {
        self.shares.scarce()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shares.state();
        state.taken -= 1;
        for network in self.client.into_iter().flat_map(networks) {
            if let Some(held) = state.held.get_mut(&network) {
                *held -= 1;
                if *held == 0 {
                    state.held.remove(&network);
                }
            }
        }
        drop(state);
        self.shares.freed.notify_one();
    }
}

/// The networks that a client belongs to, the narrowest first. An IPv4 address is a network of its own: a wider one would count
/// strangers of one provider as one client. An IPv6 host has all 2^64 addresses of its /64, and anybody gets a /48 from a provider,
/// which is 65,536 of those: so the /64 counts as a client, and the /48, too.
pub(crate) fn networks(address: IpAddr) -> impl Iterator<Item = IpNet> {
    let address = address.to_canonical();
    let lengths: &[u8] = match address {
        IpAddr::V4(_) => &[32],
        IpAddr::V6(_) => &[64, 48],
    };
    lengths
        .iter()
        .filter_map(move |length| IpNet::new(address, *length).ok())
        .map(|network| network.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_it_gets(shares: &Arc<Shares>, client: &str) -> Vec<Place> {
        let client = client.parse().unwrap();
        std::iter::from_fn(|| shares.take(client)).collect()
    }

    #[test]
    fn one_network_gets_half_and_the_next_half_of_the_rest() {
        let shares = Shares::new(64);
        let mut held = all_it_gets(&shares, "192.0.2.1");
        assert_eq!(held.len(), 32);
        assert!(!shares.scarce());
        held.extend(all_it_gets(&shares, "192.0.2.2"));
        assert_eq!(held.len(), 48);
        assert!(shares.scarce());
        held.extend(all_it_gets(&shares, "192.0.2.3"));
        assert_eq!(held.len(), 56);
        // A new client still gets one, and so does a proxy that speaks for many.
        assert!(shares.take("192.0.2.4".parse().unwrap()).is_some());
        held.extend(std::iter::from_fn(|| shares.take_for_many()));
        assert_eq!(held.len(), 64);
        held.clear();
        let state = shares.state();
        assert_eq!((state.taken, state.held.len()), (0, 0));
    }

    #[test]
    fn one_ipv6_network_is_one_client() {
        let of = |text: &str| networks(text.parse().unwrap()).next().unwrap();
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    /// Anybody can get a /48, and it counts as 65,536 clients.
    #[test]
    fn many_clients_of_one_wide_network_leave_places_for_the_others() {
        let shares = Shares::new(64);
        let mut held = Vec::new();
        for n in 0..1000 {
            held.extend(shares.take(format!("2001:db8:1:{n:x}::1").parse().unwrap()));
        }
        assert_eq!(held.len(), 32);
        held.extend(all_it_gets(&shares, "2001:db8:2::1"));
        assert_eq!(held.len(), 48);
        held.clear();
        let state = shares.state();
        assert_eq!((state.taken, state.held.len()), (0, 0));
    }

    #[tokio::test]
    async fn whoever_waits_for_a_place_hears_of_it() {
        let shares = Shares::new(1);
        let place = shares.take_for_many().unwrap();
        let waiting = Arc::clone(&shares);
        let waiting = tokio::spawn(async move { waiting.room().await });
        tokio::task::yield_now().await;
        drop(place);
        waiting.await.unwrap();
    }
}
