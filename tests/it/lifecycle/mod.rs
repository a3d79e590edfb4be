//! From changes to events.

mod database;
mod model;
mod recording;
mod replay;
mod rig;
mod who;
mod world;
