//! From changes to events.

mod database;
mod recording;
mod replay;
mod rig;
mod world;
