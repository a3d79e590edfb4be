//! PostgreSQL's snapshots: which transactions had ended at a moment.

/// A `pg_snapshot`: which transactions had ended when it was taken. Transactions below `xmax` had, unless they are in
/// `in_progress`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    text: String,
    pub(super) xmax: u64,
    pub(super) in_progress: Vec<u64>,
}

/// A text that is not a `pg_snapshot`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a pg_snapshot (xmin:xmax:xip,…)")]
pub struct NoSnapshot(String);

impl NoSnapshot {
    /// The server returned no row at all.
    pub(crate) const fn empty() -> Self {
        Self(String::new())
    }
}

impl Snapshot {
    /// The snapshot in which no transaction had ended: every change counts as unread.
    pub(crate) fn beginning() -> Self {
        Self {
            text: "3:3:".into(),
            xmax: 3,
            in_progress: Vec::new(),
        }
    }

    /// Parses PostgreSQL's text form, `xmin:xmax:xip,…`.
    pub(crate) fn parse(text: &str) -> Result<Self, NoSnapshot> {
        let none = || NoSnapshot(text.to_owned());
        let mut parts = text.splitn(3, ':');
        let mut part = || parts.next().ok_or_else(none);
        let _xmin: u64 = part()?.parse().map_err(|_| none())?;
        let xmax = part()?.parse().map_err(|_| none())?;
        let list = part()?;
        let in_progress = list
            .split(',')
            .filter(|x| !x.is_empty())
            .map(|x| x.parse().map_err(|_| none()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.to_owned(),
            xmax,
            in_progress,
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The upper bound: no transaction with this id or a larger one had ended.
    pub(crate) const fn xmax(&self) -> u64 {
        self.xmax
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_read_strictly() {
        assert_eq!(Snapshot::parse("10:20:12,15").unwrap().in_progress, [12, 15]);
        assert_eq!(Snapshot::parse("10:20:").unwrap().xmax(), 20);
        for wrong in ["", "10", "10:20", "a:b:", "10:20:x"] {
            assert!(Snapshot::parse(wrong).is_err(), "{wrong}");
        }
    }
}
