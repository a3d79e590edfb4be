//! The structure of the program, read from its own imports: modules import only what the table in `docs/ARCHITECTURE.md` allows, and no
//! files import each other in a circle.

mod graph;
mod made_up;
mod sources;
mod table;
mod tokens;

use std::path::Path;

use graph::{Edges, between_top_modules, circles};
use sources::Sources;
use table::Table;

/// The imports of the whole workspace.
fn imports() -> Edges {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Sources::default();
    sources.read_crate(root, "openregister_webhooks", "src/lib.rs");
    sources.read_crate(root, "main", "src/main.rs");
    for entry in std::fs::read_dir(root.join("crates")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let file = format!("crates/{name}/src/lib.rs");
        if root.join(&file).is_file() {
            sources.read_crate(root, &format!("orw_{name}"), &file);
        }
    }
    sources.edges()
}

fn architecture() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md");
    std::fs::read_to_string(page).unwrap()
}

#[test]
fn modules_import_only_what_the_table_of_the_architecture_allows() {
    let table = Table::read(&architecture());
    assert!(table.rows.len() > 10, "docs/ARCHITECTURE.md has no such table");
    let found = table.disagreements(&between_top_modules(&imports()));
    assert!(
        found.is_empty(),
        "docs/ARCHITECTURE.md, \"What may import what\":\n{}",
        found.join("\n")
    );
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let edges = imports();
    let circles = circles(&edges);
    let mut text = String::new();
    for circle in circles {
        text.push_str("a circle:\n");
        for ((from, to), names) in &edges {
            if circle.contains(from) && circle.contains(to) {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                text.push_str(&format!("  {from} takes from {to}: {}\n", names.join(", ")));
            }
        }
    }
    assert!(text.is_empty(), "{text}");
}
