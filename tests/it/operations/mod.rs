//! What administrators do with webhooks and their deliveries while the program runs, and what they see of them.

mod answers;
mod beside;
pub(crate) mod delivered;
mod deliveries;
mod delivery_commands;
mod figures;
mod follow;
mod large_log;
mod log_size;
mod search;
mod states;
mod views;
