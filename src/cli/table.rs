//! Tables for people.
//!
//! Guarantees: every cell is one line without control characters. On a terminal a table is as wide as the terminal at most: long cells
//! of the columns that may shrink are cut, and end with `…`. Elsewhere (in a pipe or a file) nothing is cut. Colours are used on a
//! terminal only, and never if `NO_COLOR` is set.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use unicode_width::UnicodeWidthStr as _;

use super::output;
use super::width::cut;
use crate::terminal::Line;

/// Columns between two cells.
const GAP: usize = 2;
/// A column that may shrink keeps at least this width.
const LEAST: usize = 5;

/// What a cell says about its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Attention,
    Bad,
    /// Of no importance any more.
    Faint,
}

impl Tone {
    /// The parameters of the escape sequence "select graphic rendition" (ECMA-48, 8.3.117).
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Attention => Some("33"),
            Self::Bad => Some("31"),
            Self::Faint => Some("2"),
        }
    }
}

/// A column: its header, and how its cells are laid out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    header: &'static str,
    right: bool,
    shrinks: bool,
}

impl Column {
    /// Texts that are shown whole.
    pub(super) const fn text(header: &'static str) -> Self {
        Self {
            header,
            right: false,
            shrinks: false,
        }
    }

    /// Numbers and ages, aligned to the right.
    pub(super) const fn number(header: &'static str) -> Self {
        Self {
            header,
            right: true,
            shrinks: false,
        }
    }

    /// Long texts, which are cut where the terminal is too narrow.
    pub(super) const fn long(header: &'static str) -> Self {
        Self {
            header,
            right: false,
            shrinks: true,
        }
    }
}

/// A cell.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(super) fn toned(text: impl std::fmt::Display, tone: Tone) -> Self {
        Self {
            text: Line(text).to_string(),
            tone,
        }
    }
}

impl<T: std::fmt::Display> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// Rows below headers.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    columns: [Column; N],
    rows: Vec<[Cell; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) const fn new(columns: [Column; N]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: [Cell; N]) {
        self.rows.push(cells);
    }

    /// Prints the headers and the rows; nothing if there is no row.
    pub(super) fn print(&self) {
        if !self.rows.is_empty() {
            output::styled(&self.lines(output::width(), output::colours()));
        }
    }

    pub(super) fn lines(&self, width: Option<usize>, colours: bool) -> Vec<String> {
        let widths = self.widths(width);
        let headers = self.columns.map(|column| Cell::from(column.header));
        std::iter::once(&headers)
            .chain(&self.rows)
            .map(|cells| self.line(cells, &widths, colours))
            .collect()
    }

    /// The width of each column: that of its longest cell, less what the columns that may shrink have to give.
    fn widths(&self, width: Option<usize>) -> [usize; N] {
        let mut widths = self.columns.map(|column| column.header.width());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.width());
            }
        }
        let Some(most) = width else { return widths };
        let mut excess = (widths.iter().sum::<usize>() + GAP * N.saturating_sub(1)).saturating_sub(most);
        // The widest gives first.
        while excess > 0 {
            let widest = (0..N)
                .filter(|at| self.columns[*at].shrinks && widths[*at] > LEAST)
                .max_by_key(|at| widths[*at]);
            let Some(at) = widest else { break };
            widths[at] -= 1;
            excess -= 1;
        }
        widths
    }

    fn line(&self, cells: &[Cell; N], widths: &[usize; N], colours: bool) -> String {
        let mut line = String::new();
        for (at, ((cell, width), column)) in cells.iter().zip(widths).zip(&self.columns).enumerate() {
            if at > 0 {
                line.extend(std::iter::repeat_n(' ', GAP));
            }
            let text = cut(&cell.text, *width);
            let space = width.saturating_sub(text.width());
            if column.right {
                line.extend(std::iter::repeat_n(' ', space));
            }
            match cell.tone.code().filter(|_| colours) {
                // Writing to a String cannot fail.
                Some(code) => drop(write!(line, "\u{1b}[{code}m{text}\u{1b}[0m")),
                None => line.push_str(&text),
            }
            if !column.right && at + 1 < N {
                line.extend(std::iter::repeat_n(' ', space));
            }
        }
        line
    }
}

/// How long ago a time was, in one unit: `12s`, `3m`, `5h`, `2d`. What lies ahead: `in 3m`.
pub(super) fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let age = now - at;
    if age < -TimeDelta::seconds(1) {
        format!("in {}", one_unit(-age))
    } else {
        one_unit(age)
    }
}

/// A time span in its largest unit.
pub(super) fn one_unit(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<3> {
        let mut table = Table::new([Column::number("ID"), Column::long("URI"), Column::text("STATE")]);
        table.row([
            7.into(),
            "https://example.com/a/long/path".into(),
            Cell::toned("enabled", Tone::Good),
        ]);
        table.row([123.into(), "https://b\u{1b}[2J".into(), "paused".into()]);
        table
    }

    #[test]
    fn nothing_is_cut_in_a_pipe_and_no_text_acts_on_a_terminal() {
        let lines = table().lines(None, false);
        assert_eq!(
            lines,
            [
                " ID  URI                              STATE",
                "  7  https://example.com/a/long/path  enabled",
                "123  https://b\\u{1b}[2J               paused",
            ]
        );
    }

    #[test]
    fn a_table_fits_the_terminal() {
        let lines = table().lines(Some(30), false);
        assert_eq!(lines[1], "  7  https://example…  enabled");
        for line in table().lines(Some(30), false) {
            assert!(line.width() <= 30, "{line}");
        }
    }

    #[test]
    fn colours_surround_the_text_alone() {
        let lines = table().lines(None, true);
        assert!(lines[1].ends_with("\u{1b}[32menabled\u{1b}[0m"), "{lines:?}");
        assert!(!lines[0].contains('\u{1b}') && lines[2].ends_with("paused"));
    }

    #[test]
    fn ages_have_one_unit() {
        let now = Utc::now();
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_200, "2h"),
            (200_000, "2d"),
            (-90, "in 90s"),
        ] {
            assert_eq!(ago(now - TimeDelta::seconds(seconds), now), text);
        }
    }
}
