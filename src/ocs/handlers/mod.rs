//! What the routes do: one function for each route. The table of routes ([`super::routes`]) says what each one is given.

pub(super) mod about;
pub(super) mod context;
pub(super) mod deliveries;
pub(super) mod error;
pub(super) mod jobs;
pub(super) mod parameters;
pub(super) mod registrations;
pub(super) mod webhooks;
