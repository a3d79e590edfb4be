//! The views: one file for each, with its template in `templates`.

pub(super) mod audit;
pub(super) mod deliveries;
pub(super) mod delivery;
pub(super) mod edit;
pub(super) mod events;
pub(super) mod failure;
pub(super) mod jobs;
pub(super) mod live;
pub(super) mod login;
pub(super) mod overview;
pub(super) mod registration;
mod request;
pub(crate) mod retry;
mod secret;
pub(super) mod webhook;
pub(super) mod webhooks;
