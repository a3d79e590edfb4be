//! What is given on the command line as it is, or as `@FILE`: secrets do not belong on a command line, and long texts are unwieldy.

use super::failure::Failure;

/// The text itself, or the contents of the file that `@` names, without the end of its last line.
pub(super) fn text(given: &str) -> Result<String, Failure> {
    match given.strip_prefix('@') {
        None => Ok(given.to_owned()),
        Some(path) => std::fs::read_to_string(path)
            .map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
            .map_err(|error| Failure::Usage(format!("{path} cannot be read: {error}"))),
    }
}
