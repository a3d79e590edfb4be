//! Delivery: queue, dispatcher and client against a real PostgreSQL and a real HTTPS receiver.

mod backlog_memory;
mod connections;
mod damaged;
mod dutch;
mod endings;
mod guard;
mod handshake;
mod hostile;
mod hostile_targets;
mod http2;
mod isolation;
mod leases;
mod limits;
mod losses;
mod memory;
mod net;
mod order;
mod outcomes;
mod proxy;
mod registration;
mod rig;
mod signatures;
mod speed;
mod trust;
mod verdicts;
