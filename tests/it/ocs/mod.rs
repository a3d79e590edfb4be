//! The registration API.

mod access;
mod clients;
mod recorded;
