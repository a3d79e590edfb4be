//! The SQL console: what clients can do to it, logins, every command, programs of others.

mod clients;
mod commands;
mod crowd;
mod hostile;
mod login;
mod raw;
mod scene;
mod sessions;
mod views;
