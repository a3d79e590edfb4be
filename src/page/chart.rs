//! What happened over time, as a picture that the server draws.
//!
//! Guarantee: a chart has places for every step of its series, its scale begins at zero, and its label says in words what it shows.

use askama::Template;
use chrono::{DateTime, Timelike as _, Utc};

use super::chrome::Chrome;
use super::language::Language;
use super::when;
use crate::delivery::figures::Point;

/// The steps of a chart, in minutes, and how many minutes it shows.
pub(crate) const STEP: u16 = 15;
pub(crate) const MINUTES: u16 = 1_440;

/// The picture's own units; the style sheet says how large it is shown.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 170.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 6.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 22.0;

/// A line of the scale.
struct Line {
    y: String,
    text: String,
}

/// An hour below the picture.
struct Hour {
    x: String,
    text: String,
    /// Left out where there is little room.
    minor: bool,
}

/// What happened in one step.
struct Bar {
    x: String,
    width: String,
    y: String,
    height: String,
    class: &'static str,
}

/// What a person sees who rests on a step.
struct Step {
    x: String,
    width: String,
    text: String,
}

struct Curve {
    class: &'static str,
    path: String,
}

/// A chart, ready to be shown.
#[derive(Template)]
#[template(path = "chart.html")]
pub(crate) struct Chart {
    /// What it shows, in words.
    label: String,
    lines: Vec<Line>,
    hours: Vec<Hour>,
    bars: Vec<Bar>,
    curves: Vec<Curve>,
    steps: Vec<Step>,
    /// What stands in it if there is nothing to draw; then it has no scale.
    nothing: Option<&'static str>,
}

impl Chart {
    /// The chart as markup; every text in it is escaped.
    pub(crate) fn svg(&self) -> String {
        self.render().unwrap_or_else(|error| {
            tracing::error!(%error, "a chart cannot be written");
            String::new()
        })
    }
}

/// Deliveries that arrived and attempts that failed, a minute.
pub(crate) fn traffic(points: &[Point], p: &Chrome) -> Chart {
    let rates: Vec<(f64, f64)> = points
        .iter()
        .map(|point| {
            (
                a_minute(point.outcomes.succeeded),
                a_minute(point.outcomes.failed_attempts),
            )
        })
        .collect();
    let most = nice(rates.iter().map(|(good, bad)| good + bad).fold(0.0, f64::max));
    let slot = slot(points.len());
    let mut bars = Vec::new();
    for (at, (good, bad)) in rates.iter().enumerate() {
        let mut from = 0.0;
        for (value, class) in [(*good, "one"), (*bad, "two")] {
            if value > 0.0 {
                // What is there can be seen, however little it is beside the rest.
                let height = (value / most * room()).max(1.5);
                bars.push(Bar {
                    x: units(left(at, slot) + slot * 0.1),
                    width: units(slot * 0.8),
                    y: units(TOP + room() - from - height),
                    height: units(height),
                    class,
                });
                from += height;
            }
        }
    }
    let (arrived, failed) = points.iter().fold((0, 0), |(good, bad), point| {
        (
            good + point.outcomes.succeeded,
            bad + point.outcomes.failed_attempts,
        )
    });
    let nothing = (arrived + failed == 0).then(|| {
        p.t(
            "Nothing was delivered in the last 24 hours",
            "De laatste 24 uur is er niets geleverd",
        )
    });
    let label = format!(
        "{}: {} {}, {} {}",
        p.t("The last 24 hours", "De laatste 24 uur"),
        when::number(arrived, p.language),
        p.t("deliveries arrived", "leveringen kwamen aan"),
        when::number(failed, p.language),
        p.t("attempts failed", "pogingen mislukten"),
    );
    let text = |point: &Point| {
        format!(
            "{} – {} {}, {} {}",
            period(point.at),
            when::number(point.outcomes.succeeded, p.language),
            p.t("arrived", "aangekomen"),
            when::number(point.outcomes.failed_attempts, p.language),
            p.t("failed", "mislukt"),
        )
    };
    Chart {
        label: nothing.map_or(label, str::to_owned),
        lines: scale(most, nothing, |value| short(value, p.language)),
        hours: hours(points, slot),
        bars,
        curves: Vec::new(),
        steps: steps(points, slot, text),
        nothing,
    }
}

/// How long live deliveries took, from the change to the receipt: the median and the 99th percentile.
pub(crate) fn latency(points: &[Point], p: &Chrome) -> Chart {
    let most = points
        .iter()
        .filter_map(|point| point.latency_ms.map(|times| times.p99))
        .fold(0.0, f64::max);
    let most = nice(most);
    let slot = slot(points.len());
    let curve = |class, value: fn(&crate::delivery::figures::LatencyMs) -> f64| {
        let mut path = String::new();
        let mut pen_down = false;
        for (at, point) in points.iter().enumerate() {
            let Some(times) = &point.latency_ms else {
                pen_down = false;
                continue;
            };
            let y = TOP + room() - value(times) / most * room();
            let x = left(at, slot) + slot / 2.0;
            // A step without a neighbour is a dot: a line of no length with round ends.
            let start = if pen_down { "L" } else { "M" };
            path.push_str(&format!("{start}{} {}", units(x), units(y)));
            if !pen_down {
                path.push_str("h0");
            }
            pen_down = true;
        }
        Curve { class, path }
    };
    let curves = vec![
        curve("line second", |times| times.p99),
        curve("line", |times| times.median),
    ];
    let worst = points
        .iter()
        .filter_map(|point| point.latency_ms)
        .map(|times| times.p99)
        .reduce(f64::max);
    let nothing = worst.is_none().then(|| {
        p.t(
            "No live delivery arrived in the last 24 hours",
            "De laatste 24 uur kwam er geen levering van een nieuwe wijziging aan",
        )
    });
    let label = format!(
        "{}: {} {}",
        p.t(
            "From the change to the receipt, the last 24 hours",
            "Van wijziging tot ontvangst, de laatste 24 uur"
        ),
        p.t(
            "the slowest quarter of an hour had a 99th percentile of",
            "het traagste kwartier had een 99e percentiel van"
        ),
        time(worst.unwrap_or_default(), p.language),
    );
    let text = |point: &Point| match &point.latency_ms {
        Some(times) => format!(
            "{} – p50 {}, p99 {}",
            period(point.at),
            time(times.median, p.language),
            time(times.p99, p.language)
        ),
        None => period(point.at),
    };
    Chart {
        label: nothing.map_or(label, str::to_owned),
        lines: scale(most, nothing, |value| time(value, p.language)),
        hours: hours(points, slot),
        bars: Vec::new(),
        curves,
        steps: steps(points, slot, text),
        nothing,
    }
}

fn a_minute(count: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a picture")]
    let count = count as f64;
    count / f64::from(STEP)
}

fn room() -> f64 {
    HEIGHT - TOP - BOTTOM
}

fn slot(count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most 1,440")]
    let count = count.max(1) as f64;
    (WIDTH - LEFT - RIGHT) / count
}

fn left(at: usize, slot: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most 1,440")]
    let at = at as f64;
    LEFT + at * slot
}

fn units(value: f64) -> String {
    format!("{value:.1}")
}

/// The smallest of 1, 1.5, 2, 3, 4, 6, 8, 10, 15, … that is not less.
fn nice(most: f64) -> f64 {
    let mut unit = 0.1;
    while unit < 1e12 {
        for step in [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0] {
            if unit * step >= most {
                return unit * step;
            }
        }
        unit *= 10.0;
    }
    most
}

/// The lines of the scale; without numbers if there is nothing to compare with them.
fn scale(most: f64, nothing: Option<&str>, text: impl Fn(f64) -> String) -> Vec<Line> {
    [0.0, 0.5, 1.0]
        .into_iter()
        .map(|part| Line {
            y: units(TOP + room() * (1.0 - part)),
            text: nothing.map_or_else(|| text(most * part), |_| String::new()),
        })
        .collect()
}

fn hours(points: &[Point], slot: f64) -> Vec<Hour> {
    points
        .iter()
        .enumerate()
        .filter(|(_, point)| point.at.minute() == 0 && point.at.hour().is_multiple_of(4))
        // A text at the edge would be cut off.
        .filter(|(at, _)| left(*at, slot) < WIDTH - 20.0)
        .map(|(at, point)| Hour {
            x: units(left(at, slot)),
            text: point.at.format("%H:%M").to_string(),
            minor: !point.at.hour().is_multiple_of(8),
        })
        .collect()
}

fn steps(points: &[Point], slot: f64, text: impl Fn(&Point) -> String) -> Vec<Step> {
    points
        .iter()
        .enumerate()
        .map(|(at, point)| Step {
            x: units(left(at, slot)),
            width: units(slot),
            text: text(point),
        })
        .collect()
}

/// The hours and minutes that a step covers.
fn period(at: DateTime<Utc>) -> String {
    let end = at + chrono::TimeDelta::minutes(i64::from(STEP));
    format!("{}–{} UTC", at.format("%H:%M"), end.format("%H:%M"))
}

/// A number of the scale.
fn short(value: f64, language: Language) -> String {
    let text = match value {
        10_000.0.. => format!("{:.0}k", value / 1_000.0),
        10.0.. => format!("{value:.0}"),
        _ => format!("{}", (value * 100.0).round() / 100.0),
    };
    match language {
        Language::English => text,
        Language::Dutch => text.replace('.', ","),
    }
}

/// A time in milliseconds or seconds.
pub(crate) fn time(milliseconds: f64, language: Language) -> String {
    match milliseconds {
        1_000.0.. => format!("{} s", short(milliseconds / 1_000.0, language)),
        _ => format!("{} ms", short(milliseconds, language)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_round() {
        for (most, wanted) in [
            (0.0, 0.1),
            (0.35, 0.4),
            (3.1, 4.0),
            (41.0, 60.0),
            (1_001.0, 1_500.0),
        ] {
            assert!((nice(most) - wanted).abs() < 1e-9, "{most}: {}", nice(most));
        }
        assert_eq!(short(0.05, Language::Dutch), "0,05");
        assert_eq!(time(1_250.0, Language::English), "1.25 s");
        assert_eq!(time(20.4, Language::English), "20 ms");
    }
}
