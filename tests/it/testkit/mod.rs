//! The test kit itself: what the other tests rely on.

mod harness;
mod receiver;
mod writer;
