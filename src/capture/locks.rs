//! The advisory locks; the numbers are the eight letters read as a big-endian number, and stand in `sql/functions.sql` too.

/// Held exclusively by the reader while it sleeps; writers take a share to keep it awake.
pub(crate) const GATE: i64 = i64::from_be_bytes(*b"ORW-GATE");
/// Held by the leader's session.
pub(crate) const LEADER: i64 = i64::from_be_bytes(*b"ORW-LEAD");
/// Held while installing or uninstalling.
pub(crate) const INSTALL: i64 = i64::from_be_bytes(*b"ORW-INST");

#[cfg(test)]
mod tests {
    #[test]
    fn the_sql_names_the_same_numbers() {
        let sql = include_str!("../../sql/functions.sql");
        for lock in [super::GATE, super::LEADER, super::INSTALL] {
            assert!(sql.contains(&lock.to_string()), "{lock}");
        }
    }
}
