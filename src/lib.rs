//! Durable, ordered, signed webhooks for the lifecycle events of OpenRegister on Nextcloud.
//!
//! Data flows one way: [`capture`] → [`lifecycle`] → [`registry`] × [`orw_filter`] → [`delivery`]; [`pipeline`] joins them, and the faces
//! ([`ocs`], [`proxy`], [`cli`]) stand above. `docs/ARCHITECTURE.md` has the layers, the glossary, and where each rule lives.
#![forbid(unsafe_code)]

mod arguments;
mod backoff;
pub mod capture;
pub mod catalogue;
pub mod cli;
pub mod config;
pub mod console;
pub mod database;
pub mod delivery;
pub mod demo;
pub mod doctor;
mod error_text;
mod failpoint;
#[doc(hidden)]
pub mod fuzzing;
pub mod import;
pub mod lifecycle;
pub mod listener_tls;
mod measure;
pub mod ocs;
pub mod page;
pub mod patience;
pub mod pipeline;
pub mod proxy;
pub mod random;
pub mod registry;
pub mod retention;
pub mod run;
mod shares;
pub mod supervise;
pub mod telemetry;
pub mod template;
mod terminal;
mod throttle;
pub mod traces;
