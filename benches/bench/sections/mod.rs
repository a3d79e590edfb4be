//! The sections, in the order in which they run.

pub(crate) mod delivery;
pub(crate) mod filter;
mod growth;
mod latency;
mod proxy;
mod reader;
mod writer;

use std::pin::Pin;

use crate::Scope;
use crate::report::Report;

type Running = Pin<Box<dyn Future<Output = Report>>>;

/// A part of what is measured.
pub(crate) struct Section {
    /// What `BENCH=` calls it.
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Whether it has ratios that `make bench-check` compares.
    pub(crate) gated: bool,
    pub(crate) run: fn(Scope) -> Running,
}

pub(crate) const SECTIONS: &[Section] = &[
    Section {
        name: "writer",
        about: "what capture costs Nextcloud's writes",
        gated: true,
        run: |scope| Box::pin(writer::run(scope)),
    },
    Section {
        name: "reader",
        about: "what it costs to read changes and to enqueue deliveries",
        gated: true,
        run: |scope| Box::pin(reader::run(scope)),
    },
    Section {
        name: "latency",
        about: "the time from the write to the receiver",
        gated: false,
        run: |scope| Box::pin(latency::run(scope)),
    },
    Section {
        name: "delivery",
        about: "from the commit to the receipt: time, CPU of each process, throughput",
        gated: true,
        run: |scope| Box::pin(delivery::run(scope)),
    },
    Section {
        name: "growth",
        about: "what 10,000 registrations and 2,000 captured tables change",
        gated: false,
        run: |scope| Box::pin(growth::run(scope)),
    },
    Section {
        name: "memory",
        about: "resident size idle, under load and with a backlog; the time to start with it",
        gated: false,
        run: |scope| Box::pin(delivery::memory::run(scope)),
    },
    Section {
        name: "filter",
        about: "the evaluation of filters",
        gated: false,
        run: |_| Box::pin(std::future::ready(filter::run())),
    },
    Section {
        name: "proxy",
        about: "the proxy to Nextcloud beside nginx",
        gated: false,
        run: |scope| Box::pin(proxy::run(scope)),
    },
];
