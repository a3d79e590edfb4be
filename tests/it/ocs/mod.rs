//! The registration API.

mod access;
mod clients;
mod listener;
mod recorded;
mod routes;
