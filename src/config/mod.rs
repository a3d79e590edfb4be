//! Configuration: settings from environment variables, a TOML file and flags, validated at the start.
//!
//! Guarantees: a [`Settings`] is valid in every field. Everything that is wrong is reported at once, each with its name, the reason and
//! what to do. A name that does not exist is refused. Secrets are in no `Debug`, no error and no list of effective settings.

mod advice;
mod file;
mod load;
mod parse;
mod problem;
mod reader;
mod setting;
mod settings;
mod sources;
mod values;

pub(crate) use load::metrics_listener;
pub use load::{Effective, Loaded};
pub use problem::{ConfigError, Problem};
pub use setting::{SETTINGS, Setting, Visibility};
pub use settings::Settings;
pub use sources::Sources;
pub use values::Origin;
