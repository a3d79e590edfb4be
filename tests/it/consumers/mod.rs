//! The programs of `examples/`, run as their pages say, against the real sidecar, while both are killed.
//!
//! `scripts/test_consumers.sh` (`make test-consumers`) installs what they need and names it in variables of the environment. A program
//! whose runtime this machine does not have is left out, and the report of skipped tests says so.

mod journal;
mod killed;
mod n8n;
mod program;
mod refusals;
mod sync;
