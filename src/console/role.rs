//! What a user of the console may do.

use std::fmt;

/// What a user of the console may do; a later one may do everything that an earlier one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks: `SHOW`, `LISTEN`.
    Reader,
    /// Changes, too: `PAUSE`, `RETRY`, `REPLAY`, …
    Operator,
}

impl Role {
    /// The role of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Reader, Self::Operator]
            .into_iter()
            .find(|role| role.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
