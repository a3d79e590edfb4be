//! What a section measured: tables for people, as Markdown and as JSON, and ratios for `make bench-check`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// What a section measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) tables: Vec<Table>,
    pub(crate) ratios: Vec<Ratio>,
}

/// A figure that must not become larger: a ratio of CPU times of one run, or a number of instructions.
#[derive(Debug)]
pub(crate) struct Ratio {
    pub(crate) name: String,
    pub(crate) value: f64,
}

/// A table: what is compared stands in rows.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) title: String,
    /// What the rows are; then the heading of each figure.
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<(String, Vec<Figure>)>,
}

/// A number, and with how many decimals people see it; `None` where there is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure(Option<(f64, usize)>);

impl Figure {
    pub(crate) const NONE: Self = Self(None);

    pub(crate) const fn new(value: f64, decimals: usize) -> Self {
        Self(Some((value, decimals)))
    }

    /// With commas between thousands, as the documentation writes numbers.
    fn text(self) -> String {
        let Some((value, decimals)) = self.0 else {
            return String::new();
        };
        let plain = format!("{value:.decimals$}");
        let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
        let mut text = String::new();
        for (place, digit) in whole.char_indices() {
            if place > 0 && (whole.len() - place) % 3 == 0 && !text.ends_with('-') {
                text.push(',');
            }
            text.push(digit);
        }
        text + rest
    }
}

impl Report {
    pub(crate) fn markdown(&self) -> String {
        let tables: Vec<String> = self.tables.iter().map(Table::markdown).collect();
        tables.join("\n")
    }

    fn json(&self) -> Value {
        let tables: Vec<Value> = self.tables.iter().map(Table::json).collect();
        let ratios: serde_json::Map<_, _> = self
            .ratios
            .iter()
            .map(|r| (r.name.clone(), json!(r.value)))
            .collect();
        json!({"tables": tables, "ratios": ratios})
    }
}

impl Table {
    fn markdown(&self) -> String {
        let mut text = format!("{}\n\n| {} |\n", self.title, self.columns.join(" | "));
        let _ = writeln!(text, "|{}", "---|".repeat(self.columns.len()));
        for (name, figures) in &self.rows {
            let figures: Vec<String> = figures.iter().map(|f| f.text()).collect();
            let _ = writeln!(text, "| {name} | {} |", figures.join(" | "));
        }
        text
    }

    fn json(&self) -> Value {
        let row = |(name, figures): &(String, Vec<Figure>)| {
            let figures: Vec<Value> = figures
                .iter()
                .map(|f| json!(f.0.map(|(value, _)| value)))
                .collect();
            json!({"name": name, "figures": figures})
        };
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        json!({"title": self.title, "columns": self.columns, "rows": rows})
    }
}

/// Puts a section's tables into `docs/BENCHMARKS.md`, between the two comments that name the section, and its figures into
/// `docs/benchmarks.json`.
pub(crate) fn store(section: &str, report: &Report) {
    if report.tables.is_empty() {
        return;
    }
    let machine = crate::machine::describe();
    let page = repository().join("docs/BENCHMARKS.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let (begin, end) = (
        format!("<!-- make bench: {section} -->\n"),
        "<!-- end of make bench -->",
    );
    let Some((before, rest)) = text.split_once(&begin) else {
        println!("{} has no place for {section}: {begin}", page.display());
        return;
    };
    let (_, after) = rest.split_once(end).expect("the place in the page ends");
    let tables = report.markdown();
    let text = format!("{before}{begin}`BENCH={section} make bench`. {machine}\n\n{tables}{end}{after}");
    std::fs::write(&page, text).unwrap();

    let file = repository().join("docs/benchmarks.json");
    let known = std::fs::read_to_string(&file).unwrap_or_else(|_| "{}".to_owned());
    let mut all: serde_json::Map<String, Value> =
        serde_json::from_str(&known).expect("docs/benchmarks.json is an object");
    let mut figures = report.json();
    figures["machine"] = json!(machine);
    all.insert(section.to_owned(), figures);
    std::fs::write(&file, serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
}

/// The root of the repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
