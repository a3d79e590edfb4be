//! The table of allowed imports, as `docs/ARCHITECTURE.md` has it.

use std::collections::BTreeMap;

/// Each module, in the order of the table, and what it may import.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<(String, Vec<Allowed>)>,
}

#[derive(Debug)]
pub(crate) struct Allowed {
    module: String,
    /// Marked by a dagger: it runs back, and has to go.
    back: bool,
}

/// The head of the table in the page.
const HEAD: &str = "| module | may import |";

impl Table {
    /// Takes the table out of a page: the rows below its head, each with names in back quotes.
    pub(crate) fn read(page: &str) -> Self {
        let rows = page
            .lines()
            .skip_while(|line| *line != HEAD)
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .map(|line| {
                let mut cells = line.trim_matches('|').split('|');
                let module = name(cells.next().unwrap_or_default()).expect(line);
                let imports = cells.next().unwrap_or_default().split(',');
                let allowed = imports.filter_map(|import| {
                    Some(Allowed {
                        module: name(import)?,
                        back: import.contains('†'),
                    })
                });
                (module, allowed.collect())
            })
            .collect();
        Self { rows }
    }

    /// Everything in which the table and the imports disagree, and every row that names one which is not above it.
    pub(crate) fn disagreements(&self, imports: &BTreeMap<(String, String), String>) -> Vec<String> {
        let mut found = Vec::new();
        let place: BTreeMap<&str, usize> = (self.rows.iter().enumerate())
            .map(|(at, (module, _))| (module.as_str(), at))
            .collect();
        for ((from, to), example) in imports {
            let allowed = place
                .get(from.as_str())
                .is_some_and(|at| self.rows[*at].1.iter().any(|a| a.module == *to));
            if !allowed {
                found.push(format!("`{from}` may not import `{to}`: {example}"));
            }
        }
        for (at, (from, allowed)) in self.rows.iter().enumerate() {
            for Allowed { module: to, back } in allowed {
                if !imports.contains_key(&(from.clone(), to.clone())) {
                    found.push(format!(
                        "the row of `{from}` allows `{to}`, which it does not import"
                    ));
                }
                let above = place.get(to.as_str()).is_some_and(|place| *place < at);
                if above == *back {
                    let wrong = if above {
                        "above it, in spite of its dagger"
                    } else {
                        "not above it"
                    };
                    found.push(format!("the row of `{from}` allows `{to}`, which is {wrong}"));
                }
            }
        }
        found
    }
}

/// What stands between back quotes.
fn name(cell: &str) -> Option<String> {
    cell.split('`').nth(1).map(str::to_owned)
}
