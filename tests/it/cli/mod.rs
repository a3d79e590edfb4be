//! The commands of the built program.

mod demo;
mod filter;
mod first_hour;
mod help;
mod import;
mod mistakes;
mod terminal;
mod webhook;
