//! The parts of a document that filters read, so that only these are built.

use std::collections::BTreeSet;
use std::ops::Bound;

use orw_model::Names;

/// The largest number of paths that are kept. With more, only the top-level part of the document that each begins with is kept.
const MAX_PATHS: usize = 256;

/// A path that leads through a map with a value under this name leads through all of its values: PHP has one type for lists and maps.
pub const LIST_KEY: &str = "0";

/// The parts of the document that one or several filters read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Dotted paths. None lies inside another.
    paths: BTreeSet<Box<str>>,
    /// There were too many paths, so these are top-level parts.
    whole: bool,
}

impl Needs {
    /// The needs of filters that match everything.
    pub const NOTHING: Self = Self {
        paths: BTreeSet::new(),
        whole: false,
    };

    pub(crate) fn add(&mut self, path: &str) {
        let part = part(path);
        if self.whole {
            if !self.paths.contains(part) {
                self.paths.insert(part.into());
            }
            return;
        }
        if self.has_around(path) {
            return;
        }
        while let Some(inside) = self.first_inside(path).map(str::to_owned) {
            self.paths.remove(inside.as_str());
        }
        self.paths.insert(path.into());
        if self.paths.len() > MAX_PATHS {
            self.widen();
        }
    }

    fn widen(&mut self) {
        self.paths = self.paths.iter().map(|path| part(path).into()).collect();
        self.whole = true;
    }

    /// Whether `path`, or something around it, is needed.
    fn has_around(&self, path: &str) -> bool {
        let prefixes = path.match_indices('.').map(|(dot, _)| &path[..dot]);
        prefixes.chain([path]).any(|prefix| self.paths.contains(prefix))
    }

    /// The first needed path that lies inside `path`.
    fn first_inside(&self, path: &str) -> Option<&str> {
        let start = format!("{path}.");
        let next = self
            .paths
            .range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded))
            .next()?;
        next.starts_with(&start).then_some(next)
    }

    /// Adds what `other` needs.
    pub fn merge(&mut self, other: &Self) {
        if other.whole && !self.whole {
            self.widen();
        }
        for path in &other.paths {
            self.add(path);
        }
    }

    /// Whether nothing is needed, because the filters match everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Whether a filter reads the value at `path` (`event.object`, `user.groups`), something inside it, or something around it.
    #[must_use]
    pub fn wants(&self, path: &str) -> bool {
        self.has_around(path) || self.first_inside(path).is_some()
    }

    /// The names right below `path` that [`Self::wants`] wants. If there is a value under the name [`LIST_KEY`], too, filters look at all of them.
    #[must_use]
    pub fn below(&self, path: &str) -> Names<'_> {
        if self.has_around(path) {
            return Names::All;
        }
        let start = format!("{path}.");
        let inside = self
            .paths
            .range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded));
        let mut names = Names::NONE;
        for rest in inside.map_while(|inside| inside.strip_prefix(start.as_str())) {
            names.add(part(rest));
        }
        names
    }

    /// Whether the user who made the change must be known.
    #[must_use]
    pub fn user(&self) -> bool {
        self.wants("user") || self.groups()
    }

    /// Whether the groups of that user must be known.
    #[must_use]
    pub fn groups(&self) -> bool {
        self.wants("user.groups") || self.wants("group") || self.wants("groups")
    }

    /// Whether the display name of that user must be known.
    #[must_use]
    pub fn display_name(&self) -> bool {
        self.wants("user.displayName")
    }
}

/// The top-level part of the document that a path begins with.
fn part(path: &str) -> &str {
    path.split_once('.').map_or(path, |(part, _)| part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_paths_become_whole_parts() {
        let mut many = Needs::default();
        for n in 0..=MAX_PATHS {
            many.add(&format!("event.object.data.f{n}"));
        }
        many.add("user.uid");
        assert_eq!(many.paths.len(), 2);
        for path in ["event", "event.class", "event.object.id", "user.uid"] {
            assert!(many.wants(path), "{path}");
        }
        assert!(many.groups() && !many.wants("data") && !many.wants("time"));
        let mut few = Needs::default();
        few.add("time");
        few.add("data.object.id");
        few.merge(&many);
        assert!(few.wants("event.class") && few.wants("data.object") && few.wants("time"));
        assert_eq!(few.paths.len(), 4);
    }

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
        assert_eq!(needs.below("event.object"), Names::These(vec!["data"]));
        assert_eq!(needs.below("event.object.data"), Names::These(vec!["title"]));
        assert_eq!(needs.below("event.object.data.title"), Names::All);
        assert_eq!(needs.below("event.objec"), Names::NONE);
        let mut all = Needs::default();
        all.add("user");
        all.merge(&needs);
        assert!(all.user() && all.groups() && all.display_name());
        assert_eq!(all.paths.len(), 2);
        all.add("event");
        assert_eq!(all.paths.len(), 2);
        all.add("event-x");
        assert!(all.wants("event.object") && all.wants("event-x"));
        let mut group = Needs::default();
        group.add("group");
        assert!(group.user() && group.groups() && !group.display_name());
    }
}
