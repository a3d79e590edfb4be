//! Parameters of a session that drivers ask for; each has one value.

use super::Parameter;
use crate::console::SERVER_VERSION;
use crate::console::value::{Column, Kind};

macro_rules! parameter {
    ($name:literal, $value:expr) => {
        Parameter {
            value: $value,
            columns: &[Column {
                name: $name,
                kind: Kind::Text,
            }],
        }
    };
}

/// Parameters that drivers ask for (`SHOW …`).
pub(super) const PARAMETERS: &[Parameter] = &[
    parameter!("application_name", ""),
    parameter!("client_encoding", "UTF8"),
    parameter!("datestyle", "ISO, MDY"),
    parameter!("default_transaction_read_only", "off"),
    parameter!("server_encoding", "UTF8"),
    parameter!("server_version", SERVER_VERSION),
    parameter!("server_version_num", "160000"),
    parameter!("standard_conforming_strings", "on"),
    parameter!("timezone", "UTC"),
    parameter!("transaction_isolation", "read committed"),
    parameter!("transaction_read_only", "off"),
];
