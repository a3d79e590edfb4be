//! Identifiers in SQL.

/// An identifier in double quotes, as SQL text.
pub(super) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
