//! The commands of the built program.

mod demo;
mod filter;
mod terminal;
mod webhook;
