//! The page: what an administrator looks at, at `/apps/openregister_webhooks/` on the API's listener.
//!
//! Guarantees: nothing is shown or changed for a caller whom the API would not let in; a change needs the role of an operator and a
//! token that only this page's own forms have, and is made by the API's own handlers, so the audit table tells of it; everything that
//! is shown passes through one escaper (`escape`), so no text of a stranger is markup, moves a letter or hides one; without
//! JavaScript everything works but what moves by itself.

mod answer;
pub(crate) mod assets;
mod body;
mod chart;
mod chrome;
mod cookies;
mod desk;
mod door;
pub(crate) mod escape;
mod examiner;
mod form;
mod job_records;
mod language;
mod look_ups;
mod records;
mod routes;
mod service;
mod sessions;
mod tokens;
mod views;
mod visit;
mod when;

pub use service::{Page, Sources};
