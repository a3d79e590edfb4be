//! From changes to events.

mod all_events;
mod database;
mod foreign;
mod locks;
mod locks_remembered;
mod lookups;
mod model;
mod recording;
mod renaming;
mod replay;
mod rig;
mod strangers;
mod upsert;
mod who;
mod world;
