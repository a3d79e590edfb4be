//! What all integration tests use.
#![allow(dead_code)]

pub(crate) mod api;
pub(crate) mod capture;
pub(crate) mod cli;
pub(crate) mod dice;
pub(crate) mod foreign;
pub(crate) mod leases;
pub(crate) mod lossy;
pub(crate) mod nextcloud;
pub(crate) mod pgbouncer;
pub(crate) mod postgres;
pub(crate) mod prometheus;
pub(crate) mod receiver;
pub(crate) mod recorder;
pub(crate) mod rows;
pub(crate) mod scene;
pub(crate) mod sidecar;
pub(crate) mod skipped;
pub(crate) mod traffic;
pub(crate) mod wait;
