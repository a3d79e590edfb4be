//! Processes of the built program: several on one database, killed, ended in good order; and parts of one that fail.

mod chaos;
mod ends;
mod rate;
mod scene;
#[cfg(debug_assertions)]
mod supervision;
mod takeover;
