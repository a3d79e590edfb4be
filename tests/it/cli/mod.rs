//! The commands of the built program.

mod columns;
mod demo;
mod filter;
mod first_hour;
mod help;
mod import;
mod mistakes;
mod terminal;
mod webhook;
