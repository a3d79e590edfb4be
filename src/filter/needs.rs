//! What a filter looks into, so that only that is built.

use std::collections::BTreeSet;

/// The parts of the document that a filter, or several, look into.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Dotted paths; none begins with another and a dot.
    paths: BTreeSet<Box<str>>,
}

impl Needs {
    pub(super) fn add(&mut self, path: &str) {
        if self.paths.iter().any(|known| reaches(path, known)) {
            return;
        }
        self.paths.retain(|known| !reaches(known, path));
        self.paths.insert(path.into());
    }

    /// Adds what `other` needs.
    pub fn merge(&mut self, other: &Self) {
        for path in &other.paths {
            self.add(path);
        }
    }

    /// Whether it looks at nothing: the filter matches everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Whether what is at `path` (`event.object`, `user.groups`) is looked at, or something inside it, or something around it.
    #[must_use]
    pub fn wants(&self, path: &str) -> bool {
        self.paths
            .iter()
            .any(|known| reaches(known, path) || reaches(path, known))
    }

    /// Whether it must be known who made the change.
    #[must_use]
    pub fn user(&self) -> bool {
        self.wants("user") || self.groups()
    }

    /// Whether the groups of who made the change must be known.
    #[must_use]
    pub fn groups(&self) -> bool {
        self.wants("user.groups") || self.wants("group") || self.wants("groups")
    }

    /// Whether the display name of who made the change must be known.
    #[must_use]
    pub fn display_name(&self) -> bool {
        self.wants("user.displayName")
    }
}

/// Whether `path` is `around` or inside it.
fn reaches(path: &str, around: &str) -> bool {
    path.strip_prefix(around)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_wanted_from_above_and_below() {
        let mut needs = Needs::default();
        assert!(needs.is_empty());
        assert!(!needs.wants("event"));
        needs.add("event.object.data.title");
        needs.add("user.uid");
        for path in [
            "event",
            "event.object",
            "event.object.data",
            "event.object.data.title",
            "user",
            "user.uid",
        ] {
            assert!(needs.wants(path), "{path}");
        }
        for path in [
            "data",
            "event.oldObject",
            "event.objects",
            "event.object.id",
            "user.groups",
            "time",
        ] {
            assert!(!needs.wants(path), "{path}");
        }
        assert!(needs.user() && !needs.groups() && !needs.display_name());
        let mut all = Needs::default();
        all.add("user");
        all.merge(&needs);
        assert!(all.user() && all.groups() && all.display_name());
        assert_eq!(all.paths.len(), 2);
        let mut group = Needs::default();
        group.add("group");
        assert!(group.user() && group.groups() && !group.display_name());
    }
}
