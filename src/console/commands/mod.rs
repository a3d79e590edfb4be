//! What the commands do. Each calls what the API and the command line call; the console has no rules of its own.

mod change;
mod columns;
mod context;
mod failure;
mod help;
mod show;
mod views;

pub(super) use change::run as change;
pub(super) use columns::{of_change, of_show};
pub use context::{Context, ShownSetting, ShownSettings};
pub(super) use show::run as show;
