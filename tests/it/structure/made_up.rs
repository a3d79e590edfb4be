//! The reader of structure itself, on a small tree that is made up.

use std::path::Path;

use super::graph::{Edges, between_top_modules, circles};
use super::sources::Sources;
use super::table::Table;

const TABLE: &str = "
| module | may import |
|---|---|
| `orw_low` | |
| `middle` | `orw_low` |
| `high` | `middle`, `orw_low` |

More text.
";

const FILES: [(&str, &str); 8] = [
    ("crates/low/src/lib.rs", "mod number; pub use number::Number;"),
    ("crates/low/src/number.rs", "pub struct Number;"),
    ("src/lib.rs", "pub mod high; pub mod middle;"),
    (
        "src/middle/mod.rs",
        "//! A face: what stands below, and a type.\n\
         mod leaf; mod worker; pub use worker::{Worker, work}; pub struct Shared;",
    ),
    (
        "src/middle/leaf.rs",
        "pub struct Leaf; pub fn leaf() -> orw_low::Number { todo!() }",
    ),
    (
        "src/middle/worker.rs",
        "use super::leaf::{self, Leaf}; use super::Shared;\n\
         pub struct Worker(Leaf, Shared); pub fn work() { leaf::leaf(); }\n\
         #[cfg(test)] mod tests { use crate::high::High; }",
    ),
    (
        "src/high.rs",
        "use crate::middle; use orw_low::Number;\n\
         pub struct High(middle::Worker, Number);\n\
         // use crate::nothing::Nothing;\n\
         const TEXT: &str = \"crate::nothing::Nothing\";",
    ),
    ("src/unused.rs", "this is no module of any crate"),
];

/// The imports of the made-up tree, with `added` at the end of some files.
fn imports(added: &[(&str, &str)]) -> Edges {
    let tree = tempfile::tempdir().unwrap();
    for (file, text) in FILES {
        let mut text = text.to_owned();
        for (_, more) in added.iter().filter(|(to, _)| *to == file) {
            text.push('\n');
            text.push_str(more);
        }
        let file = tree.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap_or(Path::new(""))).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let mut sources = Sources::default();
    sources.read_crate(tree.path(), "openregister_webhooks", "src/lib.rs");
    sources.read_crate(tree.path(), "orw_low", "crates/low/src/lib.rs");
    sources.edges()
}

fn disagreements(table: &str, edges: &Edges) -> Vec<String> {
    Table::read(table).disagreements(&between_top_modules(edges))
}

#[test]
fn imports_lead_to_the_file_that_defines_what_is_taken() {
    let edges = imports(&[]);
    let found: Vec<(&str, &str)> = edges.keys().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(
        found,
        [
            ("src/high.rs", "crates/low/src/number.rs"),
            ("src/high.rs", "src/middle/worker.rs"),
            ("src/middle/leaf.rs", "crates/low/src/number.rs"),
            ("src/middle/worker.rs", "src/middle/leaf.rs"),
            ("src/middle/worker.rs", "src/middle/mod.rs"),
        ]
    );
    assert_eq!(disagreements(TABLE, &edges), Vec::<String>::new());
    assert_eq!(circles(&edges), Vec::<Vec<String>>::new());
}

#[test]
fn an_import_that_runs_back_is_seen_however_it_is_written() {
    for written in [
        "use crate::high::High;",
        "fn f() -> crate::high::High { todo!() }",
        "fn f() { use super::super::high; drop(high::High::new()); }",
        "use super::super::{high as above}; type T = above::High;",
        "fn f() { println!(\"{}\", crate::high::TEXT); }",
        "#[derive(Debug)] struct S { #[serde(default = \"crate::high::made\")] field: u8 }",
        "pub use crate::high::High;",
        "use crate::high::*;",
    ] {
        let edges = imports(&[("src/middle/leaf.rs", written)]);
        let found = disagreements(TABLE, &edges);
        assert_eq!(found.len(), 1, "{written}: {found:?}");
        assert!(
            found[0].starts_with("`middle` may not import `high`: src/middle/leaf.rs takes "),
            "{found:?}"
        );
    }
    let from_a_crate = imports(&[(
        "crates/low/src/number.rs",
        "use openregister_webhooks::high::High;",
    )]);
    assert_eq!(disagreements(TABLE, &from_a_crate).len(), 1);
}

#[test]
fn a_row_that_no_import_needs_and_one_that_allows_what_is_below_it_are_seen() {
    let edges = imports(&[]);
    let unneeded = TABLE.replace("| `orw_low` | |", "| `orw_low` | |\n| `helper` | `orw_low` |");
    assert_eq!(
        disagreements(&unneeded, &edges),
        ["the row of `helper` allows `orw_low`, which it does not import"]
    );
    let edges = imports(&[("src/middle/leaf.rs", "use crate::high::High;")]);
    let back = TABLE.replace("| `middle` | `orw_low` |", "| `middle` | `orw_low`, `high` |");
    assert_eq!(
        disagreements(&back, &edges),
        ["the row of `middle` allows `high`, which is not above it"]
    );
}

#[test]
fn a_circle_is_seen_also_one_that_a_re_export_hides() {
    let edges = imports(&[("src/middle/leaf.rs", "use super::Worker;")]);
    assert_eq!(circles(&edges), [["src/middle/leaf.rs", "src/middle/worker.rs"]]);
    // A face that uses what stands below it, which uses the face's own types.
    let edges = imports(&[("src/middle/mod.rs", "fn f() { work() }")]);
    assert_eq!(circles(&edges), [["src/middle/mod.rs", "src/middle/worker.rs"]]);
    // By way of a third.
    let edges = imports(&[("src/middle/leaf.rs", "use crate::high::High;")]);
    assert_eq!(
        circles(&edges),
        [["src/high.rs", "src/middle/leaf.rs", "src/middle/worker.rs"]]
    );
}
