//! A choice of names.

/// Which of the fields of something are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names<'n> {
    All,
    These(Vec<&'n str>),
}

impl<'n> Names<'n> {
    /// None.
    pub const NONE: Self = Self::These(Vec::new());

    /// Whether this name is among them.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.contains(&name),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// Adds a name.
    pub fn add(&mut self, name: &'n str) {
        if let Self::These(names) = self
            && !names.contains(&name)
        {
            names.push(name);
        }
    }

    /// Adds the names of `others`.
    pub fn join(&mut self, others: Self) {
        match others {
            Self::All => *self = Self::All,
            Self::These(names) => names.into_iter().for_each(|name| self.add(name)),
        }
    }
}
