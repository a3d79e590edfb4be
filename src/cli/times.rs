//! Times in tables: as ages, or as they are.

use chrono::{DateTime, Utc};
use clap::Args;

use super::table::ago;

/// The flag of the lists that show ages.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct TimesArgs {
    /// Show times in place of ages: month, day and time of day in UTC (`show` and --json have the year as well)
    #[arg(long)]
    absolute: bool,
}

impl TimesArgs {
    pub(super) fn as_of(self, now: DateTime<Utc>) -> Times {
        if self.absolute {
            Times::Absolute
        } else {
            Times::Ages(now)
        }
    }
}

/// How a table shows times.
#[derive(Debug, Clone, Copy)]
pub(super) enum Times {
    /// As of this time.
    Ages(DateTime<Utc>),
    Absolute,
}

impl Times {
    pub(super) const fn header(self) -> &'static str {
        match self {
            Self::Ages(_) => "AGE",
            Self::Absolute => "TIME (UTC)",
        }
    }

    pub(super) fn shown(self, at: DateTime<Utc>) -> String {
        match self {
            Self::Ages(now) => ago(at, now),
            Self::Absolute => at.format("%m-%d %T").to_string(),
        }
    }
}
