//! Registrations in a real database.

mod client_certificate;
mod registrations;
mod restored;
