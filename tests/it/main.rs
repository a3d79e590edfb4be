//! Integration tests: one binary, real PostgreSQL, real TLS, real processes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod backlog_memory;
mod capture_losses;
mod capture_outbox;
mod capture_poison;
mod capture_strangers;
mod capture_stress;
mod chaos;
mod client_certificate;
mod delivery;
mod demo;
mod depth;
mod doctor;
mod encoding;
mod filter;
mod gap_events;
mod harmless_catalog;
mod harmless_ddl;
mod harmless_first_rows;
mod harmless_hostile;
mod harmless_soak;
mod harmless_traffic;
mod harmless_transactions;
mod harmless_writes;
mod harness;
mod jobs;
mod lifecycle;
mod log_size;
mod matrix;
mod ocs;
mod ocs_access;
mod ocs_clients;
mod operations;
mod proxy;
mod receiver;
mod registry;
mod registry_restored;
mod restore;
mod rights;
mod several;
mod storage;
#[cfg(debug_assertions)]
mod supervision;
mod support;
mod terminal;
mod webhook_cli;
mod writer;
