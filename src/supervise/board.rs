//! Which parts run; `/readyz` and the metrics show it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::PartFailure;

type Labels = Vec<(&'static str, &'static str)>;

/// The state of every part; cheap to clone, every clone shows the same.
#[derive(Debug, Clone, Default)]
pub struct Board {
    parts: Arc<Mutex<BTreeMap<&'static str, State>>>,
    up: Family<Labels, Gauge>,
    failures: Family<Labels, Counter>,
}

#[derive(Debug)]
enum State {
    Running,
    Down(PartFailure),
}

impl Board {
    /// Puts the metrics into a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "part_up",
            "1 while this part of the process runs",
            self.up.clone(),
        );
        registry.register(
            "part_failures",
            "Failures of parts of the process, and of tasks of theirs; a part that failed is started again",
            self.failures.clone(),
        );
    }

    /// The parts that are down because they failed, each with the reason; `None` if there are none.
    #[must_use]
    pub fn down_now(&self) -> Option<String> {
        let parts = self.lock();
        let down: Vec<String> = parts
            .iter()
            .filter_map(|(name, state)| match state {
                State::Running => None,
                State::Down(failure) => Some(format!("{name} is down: {}", failure.in_short())),
            })
            .collect();
        (!down.is_empty()).then(|| down.join("; "))
    }

    /// The parts that have not ended.
    pub(super) fn running(&self) -> Vec<&'static str> {
        self.lock().keys().copied().collect()
    }

    /// Adds a part; its metrics begin at 0.
    pub(super) fn known(&self, part: &'static str) {
        drop(self.failures.get_or_create(&labels(part)));
        drop(self.up.get_or_create(&labels(part)));
    }

    pub(super) fn up(&self, part: &'static str) {
        self.lock().insert(part, State::Running);
        self.up.get_or_create(&labels(part)).set(1);
    }

    pub(super) fn down(&self, part: &'static str, failure: &PartFailure) {
        self.lock().insert(part, State::Down(failure.clone()));
        self.up.get_or_create(&labels(part)).set(0);
        self.failures.get_or_create(&labels(failure.part())).inc();
    }

    pub(super) fn ended(&self, part: &'static str) {
        self.lock().remove(part);
        self.up.get_or_create(&labels(part)).set(0);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, State>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn labels(part: &'static str) -> Labels {
    vec![("part", part)]
}
