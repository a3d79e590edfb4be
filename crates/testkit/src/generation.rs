//! The generations of OpenRegister whose tables the demo and the tests make.

use std::fmt;

/// A generation of OpenRegister, by the release that stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Generation {
    /// 0.2.13: objects in one table per register and schema; a lock leaves no trace but its audit row.
    V0_2_13,
    /// 0.2.9: objects in the blob table; a lock is in the row.
    V0_2_9,
}

impl Generation {
    pub const ALL: [Self; 2] = [Self::V0_2_13, Self::V0_2_9];

    /// Its tables; to be run by the role that is to own them.
    #[must_use]
    pub const fn tables(self) -> &'static str {
        match self {
            Self::V0_2_13 => include_str!("sql/openregister-0.2.13.sql"),
            Self::V0_2_9 => include_str!("sql/openregister-0.2.9.sql"),
        }
    }

    /// The rows it starts with: users, groups, an organisation, register 1 `people` with schema 1 `person`.
    #[must_use]
    pub const fn seed(self) -> &'static str {
        include_str!("sql/seed.sql")
    }

    /// A name for a database of it.
    #[must_use]
    pub const fn database(self) -> &'static str {
        match self {
            Self::V0_2_13 => "openregister_0_2_13",
            Self::V0_2_9 => "openregister_0_2_9",
        }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V0_2_13 => "0.2.13",
            Self::V0_2_9 => "0.2.9",
        })
    }
}
