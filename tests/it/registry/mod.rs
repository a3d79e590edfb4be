//! Registrations in a real database.

mod client_certificate;
mod common;
mod credentials;
mod restored;
mod secrets;
mod visible;
