//! Processes of the built program: several on one database, killed or shut down, and parts of one process that fail.

mod chaos;
mod ends;
mod leased;
mod rate;
mod scene;
#[cfg(debug_assertions)]
mod supervision;
mod takeover;
