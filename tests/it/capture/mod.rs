//! From the writer's transaction to the reader: nothing is lost, nothing is invented, and what cannot be read says so.

mod depth;
mod encoding;
mod gap_events;
mod kinds;
mod losses;
mod matrix;
mod outbox;
mod poison;
mod restore;
mod strangers;
mod stress;
mod terms;
