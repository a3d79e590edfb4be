//! Reports of what could not be tested on this machine; `make test` prints them at its end.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Says that a test, or a part of it, did not run, and why.
///
/// The line goes to the terminal directly, because the test harness shows the output of failed tests only. `scripts/test.sh`
/// names a file in `ORW_TEST_SKIPPED`, to which the line is added, and shows that file at the very end.
pub(crate) fn skipped(what: &str, why: &str) {
    let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = format!("SKIPPED: {what}: {why}\n");
    std::io::stderr()
        .write_all(format!("\n{line}").as_bytes())
        .unwrap();
    if let Some(file) = std::env::var_os("ORW_TEST_SKIPPED") {
        let mut file = OpenOptions::new().append(true).create(true).open(file).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}
