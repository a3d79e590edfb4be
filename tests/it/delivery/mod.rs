//! Delivery: queue, dispatcher and client against a real PostgreSQL and a real HTTPS receiver.

mod endings;
mod hostile;
mod isolation;
mod limits;
mod order;
mod outcomes;
mod registration;
mod rig;
mod speed;
