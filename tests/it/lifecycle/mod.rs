//! From changes to events.

mod database;
mod lookups;
mod model;
mod recording;
mod renaming;
mod replay;
mod rig;
mod upsert;
mod who;
mod world;
