//! The fuzz targets. Each is a function that takes any bytes and panics if a law does not hold.
//!
//! libFuzzer runs them (`fuzz/run.sh`), and the test suite does too (`tests/it/fuzzing.rs`), with the seeds and with random
//! input, so that they stay true while nobody fuzzes.

pub(crate) mod accept;
pub(crate) mod console;
pub(crate) mod filter;
pub(crate) mod form;
pub(crate) mod json;
pub(crate) mod no_proxy;
mod source;
pub(crate) mod template;
pub(crate) mod tunnel;
pub(crate) mod xml;

/// The name of a target, which is also that of its seeds and its dictionary, and its function.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All targets.
pub(crate) const TARGETS: [Target; 9] = [
    ("accept", accept::check),
    ("console", console::check),
    ("filter", filter::check),
    ("form", form::check),
    ("json", json::check),
    ("no_proxy", no_proxy::check),
    ("template", template::check),
    ("tunnel", tunnel::check),
    ("xml", xml::check),
];
