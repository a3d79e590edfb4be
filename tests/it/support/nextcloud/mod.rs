//! A stand-in for Nextcloud that answers as recordings of a real one do.

mod api;
mod pages;
mod server;
mod state;

pub(crate) use server::Nextcloud;
