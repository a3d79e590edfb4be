//! From changes to events.

mod recording;
mod replay;
mod world;
