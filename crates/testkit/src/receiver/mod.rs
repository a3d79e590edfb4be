//! An HTTPS (or HTTP) server that records every request and answers as it is told to.
//!
//! Guarantees: a request is recorded in full before it is answered; its arrival time is the time of its last byte; bodies
//! are limited to 64 MiB; when the receiver is dropped, every connection ends and the port is free. How a receiver can fail
//! (resets, silence, endless bodies, …) is compiled only with the feature `faults`.

mod answer;
mod connection;
#[cfg(feature = "faults")]
mod faults;
#[cfg(feature = "faults")]
mod nrc;
mod received;
mod record;
#[cfg(feature = "faults")]
mod reset;
mod server;

pub use answer::Answer;
#[cfg(feature = "faults")]
pub use nrc::Nrc;
pub use received::Received;
pub use server::{Options, Receiver, ReceiverError};
