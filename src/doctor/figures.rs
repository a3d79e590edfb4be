//! Figures for people and for metrics.

/// Rows are counted up to this number; beyond it the exact number says no more.
pub(super) const COUNTED: i64 = 100_000;

/// A count as the figure of a metric. It would be rounded beyond 2^53, which no table holds.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(super) const fn as_figure(count: i64) -> f64 {
    count as f64
}

/// A count for people, of at most [`COUNTED`].
pub(super) fn number(count: i64) -> String {
    if count >= COUNTED {
        format!("{COUNTED} or more")
    } else {
        count.to_string()
    }
}

/// A size for people.
pub(super) fn size(bytes: i64) -> String {
    match bytes {
        0..=9_999 => format!("{bytes} bytes"),
        10_000..=9_999_999 => format!("{} kB", bytes / 1_000),
        10_000_000..=9_999_999_999 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

/// A duration for people.
pub(super) fn duration(seconds: f64) -> String {
    if seconds < 120.0 {
        format!("{seconds:.0} s")
    } else if seconds < 7_200.0 {
        format!("{:.0} min", seconds / 60.0)
    } else if seconds < 172_800.0 {
        format!("{:.0} h", seconds / 3_600.0)
    } else {
        format!("{:.0} days", seconds / 86_400.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_for_people() {
        assert_eq!(size(512), "512 bytes");
        assert_eq!(size(12_345_678), "12 MB");
        assert_eq!(duration(61.4), "61 s");
        assert_eq!(duration(7_199.0), "120 min");
        assert_eq!(duration(200_000.0), "2 days");
        assert_eq!(number(COUNTED), "100000 or more");
    }
}
