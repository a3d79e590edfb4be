//! What an administrator does to a webhook and its deliveries while the program runs, and what is seen of them.

mod answers;
mod delivered;
mod deliveries;
mod delivery_commands;
mod figures;
mod large_log;
mod log_size;
mod states;
