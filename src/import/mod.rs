//! Taking over the registrations of OpenRegister's own webhooks (`openregister_webhooks` in Nextcloud's tables).
//!
//! Guarantees: what has no counterpart is said, and a webhook never gets more than it had: a row whose filter or body cannot be kept is
//! left out. A row is taken over once, however often this runs, also if what it became was changed or removed since. Nothing of
//! OpenRegister's is changed.

mod apply;
mod classes;
mod filters;
mod plan;
mod row;

pub use apply::{Done, ImportError, Imported, run};
pub use plan::{Outcome, Plan, Planned};
