//! `doctor`: each thing that goes wrong is reported with its cause and its remedy, and nothing else is reported.

mod common;
mod connection;
mod installation;
mod operation;
