//! Several processes of the built program on one database: killed, ended in good order, and limited in total.

mod ends;
mod rate;
mod scene;
mod takeover;
