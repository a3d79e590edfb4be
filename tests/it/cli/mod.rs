//! The commands of the built program.

mod demo;
mod filter;
mod first_hour;
mod help;
mod mistakes;
mod terminal;
mod webhook;
