//! From changes to events.

mod all_events;
mod database;
mod foreign;
mod generations;
mod locks;
mod locks_remembered;
mod lookups;
mod model;
mod moves;
mod oracle;
mod recording;
mod renaming;
mod replay;
mod reverts;
mod rig;
mod strangers;
mod upsert;
mod who;
mod world;
