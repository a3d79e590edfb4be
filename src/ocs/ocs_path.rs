//! Paths below `/ocs/v1.php` and `/ocs/v2.php`.

use super::reply::Version;

/// Which version a path names, and where the rest of it starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct OcsPath {
    pub(super) version: Version,
    start: usize,
}

impl OcsPath {
    /// `None` if `path` is no OCS path. `base` is the path that Nextcloud is installed below.
    pub(super) fn parse(path: &str, base: &str) -> Option<Self> {
        const V1: &str = "/ocs/v1.php";
        const V2: &str = "/ocs/v2.php";
        let below = path.strip_prefix(base)?;
        let of = |version, prefix: &str| {
            below.starts_with(prefix).then_some(Self {
                version,
                start: base.len() + prefix.len(),
            })
        };
        of(Version::V1, V1).or_else(|| of(Version::V2, V2))
    }

    /// The part of `path` that names the route. `path` is the one that was parsed, or a prefix of it.
    pub(super) fn route(self, path: &str) -> Option<&str> {
        path.get(self.start..)
    }
}
