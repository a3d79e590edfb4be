//! The commands of the built program.

mod demo;
mod filter;
mod help;
mod mistakes;
mod terminal;
mod webhook;
