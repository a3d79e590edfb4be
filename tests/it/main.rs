//! Integration tests: one binary, real PostgreSQL, real TLS, real processes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod capture;
mod cli;
mod console;
mod consumers;
mod delivery;
mod deployment;
mod doctor;
mod fuzzing;
mod harmless;
mod jobs;
mod lifecycle;
mod manual;
mod monitoring;
mod ocs;
mod operations;
mod page;
mod pages;
mod processes;
mod proxy;
mod registry;
mod storage;
mod structure;
mod support;
mod testkit;
