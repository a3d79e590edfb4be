//! A map that drops the entries inserted longest ago, so that its weight never exceeds its bound.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A map bounded by the sum of its entries' weights.
#[derive(Debug)]
pub(crate) struct BoundedMap<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// By the time of insertion: the key. The first is dropped first.
    order: BTreeMap<u64, K>,
    clock: u64,
    weight: usize,
    bound: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    weight: usize,
    used: u64,
}

/// The weight of keys and bookkeeping, added to each entry, in bytes.
const OVERHEAD: usize = 256;

impl<K: Hash + Eq + Clone, V> BoundedMap<K, V> {
    /// A map of at most `bound` bytes.
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: BTreeMap::new(),
            clock: 0,
            weight: 0,
            bound,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
        self.weight = 0;
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// Inserts a `value` of `weight` bytes and drops the oldest entries that no longer fit. A value that could never fit is not kept.
    pub(crate) fn insert(&mut self, key: K, value: V, weight: usize) {
        self.remove(&key);
        let weight = weight.saturating_add(OVERHEAD);
        if weight > self.bound {
            return;
        }
        self.clock += 1;
        let used = self.clock;
        self.order.insert(used, key.clone());
        self.entries.insert(key, Entry { value, weight, used });
        self.weight += weight;
        while self.weight > self.bound {
            let Some((_, oldest)) = self.order.pop_first() else {
                break;
            };
            if let Some(entry) = self.entries.remove(&oldest) {
                self.weight -= entry.weight;
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let entry = self.entries.remove(key)?;
        self.order.remove(&entry.used);
        self.weight -= entry.weight;
        Some(entry.value)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_when_the_bound_is_reached() {
        let mut map = BoundedMap::new(10 * (OVERHEAD + 100));
        for n in 0..100 {
            map.insert(n, n, 100);
        }
        assert_eq!(map.len(), 10);
        assert_eq!(
            (map.get(&89), map.get(&90), map.get(&99)),
            (None, Some(&90), Some(&99))
        );
        map.insert(90, 900, 100);
        map.insert(100, 100, 100);
        assert_eq!((map.get(&90), map.get(&91)), (Some(&900), None));
        assert_eq!(map.remove(&90), Some(900));
        assert_eq!(map.len(), 9);
        map.insert(99, 1, usize::MAX);
        assert_eq!((map.len(), map.get(&99)), (8, None));
        map.insert(1, 1, 1);
        map.clear();
        assert_eq!((map.len(), map.weight), (0, 0));
    }
}
