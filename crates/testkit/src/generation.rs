//! The generations of OpenRegister: their tables, and how a program of each writes.

use std::fmt;

/// A generation of OpenRegister, named after one of its releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Generation {
    /// 0.2.13: each register and schema has a table for its objects; a lock is recorded in an audit row only.
    V0_2_13,
    /// 0.2.9: all objects are in one table, their data in a JSON column; a lock is in the row.
    V0_2_9,
    /// 2.1: the tables of 0.2.13 with more columns; a lock is in the row and ends with a save, which also raises the version. Made from
    /// what was read of its source; the others were recorded from real installations.
    V2_1,
}

impl Generation {
    /// Those that were recorded. The demo shows them, and tests of what does not depend on the columns run with them.
    pub const ALL: [Self; 2] = [Self::V0_2_13, Self::V0_2_9];

    /// The SQL that creates its tables; the role that runs it owns them.
    #[must_use]
    pub const fn tables(self) -> &'static str {
        match self {
            Self::V0_2_13 => include_str!("sql/openregister-0.2.13.sql"),
            Self::V0_2_9 => include_str!("sql/openregister-0.2.9.sql"),
            Self::V2_1 => concat!(
                include_str!("sql/openregister-0.2.13.sql"),
                include_str!("sql/openregister-2.1.sql")
            ),
        }
    }

    /// The SQL that inserts its first rows: users, groups, an organisation, register 1 `people` with schema 1 `person`.
    #[must_use]
    pub const fn seed(self) -> &'static str {
        include_str!("sql/seed.sql")
    }

    /// A name for a database with its tables.
    #[must_use]
    pub const fn database(self) -> &'static str {
        match self {
            Self::V0_2_13 => "openregister_0_2_13",
            Self::V0_2_9 => "openregister_0_2_9",
            Self::V2_1 => "openregister_2_1",
        }
    }

    /// Whether all objects are in one table.
    pub(crate) const fn is_blob(self) -> bool {
        matches!(self, Self::V0_2_9)
    }

    /// Whether it writes rows for Nextcloud's activity app.
    pub(crate) const fn has_activity(self) -> bool {
        !matches!(self, Self::V0_2_9)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V0_2_13 => "0.2.13",
            Self::V0_2_9 => "0.2.9",
            Self::V2_1 => "2.1",
        })
    }
}
