//! Times and amounts, as people read them.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::language::Language;

/// A time as a machine reads it, to the second.
pub(crate) fn exact(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A time as a person reads it: `2026-11-29 03:07:19`, in UTC.
pub(crate) fn written(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// An age or a wait in its largest unit: `3 min`.
pub(crate) fn span(time: TimeDelta, language: Language) -> String {
    let seconds = time.num_seconds().max(0);
    let (number, unit) = match seconds {
        0..120 => (seconds, "s"),
        120..7_200 => (seconds / 60, "min"),
        7_200..172_800 => (seconds / 3_600, language.choose("h", "u")),
        _ => (seconds / 86_400, language.choose("days", "dagen")),
    };
    format!("{number} {unit}")
}

/// How long ago, or in how long.
pub(crate) fn ago(at: DateTime<Utc>, now: DateTime<Utc>, language: Language) -> String {
    if at > now {
        let wait = span(at - now, language);
        return match language {
            Language::English => format!("in {wait}"),
            Language::Dutch => format!("over {wait}"),
        };
    }
    match (now - at).num_seconds() {
        0..2 => language.choose("just now", "zojuist").to_owned(),
        _ => format!(
            "{} {}",
            span(now - at, language),
            language.choose("ago", "geleden")
        ),
    }
}

/// A number with its thousands apart.
pub(crate) fn number(value: i64, language: Language) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push_str(language.choose(",", "."));
        }
        out.push(digit);
    }
    if value < 0 { format!("-{out}") } else { out }
}

/// A duration in milliseconds, in a unit that is easy to read.
pub(crate) fn milliseconds(value: i64, language: Language) -> String {
    match value {
        ..10_000 => format!("{} ms", number(value, language)),
        _ => span(TimeDelta::milliseconds(value), language),
    }
}

/// A share as people read it, such as `99.8 %`; it is 100 % only if it is whole.
pub(crate) fn percent(share: f64, language: Language) -> String {
    let tenths = (share * 1_000.0).floor() / 10.0;
    let text = format!("{tenths:.1} %");
    match language {
        Language::English => text,
        Language::Dutch => text.replace('.', ","),
    }
}

/// A size on disk.
pub(crate) fn bytes(value: u64) -> String {
    match value {
        0..10_000 => format!("{value} B"),
        10_000..10_000_000 => format!("{} kB", value / 1_000),
        10_000_000..10_000_000_000 => format!("{} MB", value / 1_000_000),
        _ => format!("{} GB", value / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_for_people() {
        let (en, nl) = (Language::English, Language::Dutch);
        let now = DateTime::<Utc>::from_timestamp(1_764_385_639, 0).unwrap();
        let past = |seconds| now - TimeDelta::seconds(seconds);
        assert_eq!(ago(past(0), now, en), "just now");
        assert_eq!(ago(past(61), now, en), "61 s ago");
        assert_eq!(ago(past(200), now, nl), "3 min geleden");
        assert_eq!(ago(past(-7300), now, nl), "over 2 u");
        assert_eq!(number(-1_234_567, en), "-1,234,567");
        assert_eq!(number(999, nl), "999");
        assert_eq!(number(1_000, nl), "1.000");
        assert_eq!(milliseconds(9_999, en), "9,999 ms");
        assert_eq!(milliseconds(61_000, en), "61 s");
        assert_eq!(percent(0.9999, en), "99.9 %");
        assert_eq!(bytes(12_345_678), "12 MB");
    }
}
