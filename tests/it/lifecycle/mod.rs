//! From changes to events.

mod database;
mod model;
mod recording;
mod renaming;
mod replay;
mod rig;
mod upsert;
mod who;
mod world;
