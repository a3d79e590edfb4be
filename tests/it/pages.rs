//! What the pages point to exists: the files that they name, and the pages and headings that they link to. Code moves, and a page
//! that names its old place misleads.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Names that begin with one of these are paths.
const FOLDERS: [&str; 12] = [
    "src/",
    "crates/",
    "docs/",
    "sql/",
    "tests/",
    "fuzz/",
    "scripts/",
    "benches/",
    ".ci/",
    "docker/",
    "deploy/",
    "examples/",
];

/// A folder that a user makes.
const MADE: &str = "docker/secrets";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn markdown_in(folder: &Path, pages: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            markdown_in(&path, pages);
        } else if path.extension().is_some_and(|kind| kind == "md") {
            pages.push(path);
        }
    }
}

fn pages() -> Vec<PathBuf> {
    let mut pages = vec![
        root().join("README.md"),
        root().join("CONTRIBUTING.md"),
        root().join("CHANGELOG.md"),
    ];
    markdown_in(&root().join("docs"), &mut pages);
    markdown_in(&root().join("crates"), &mut pages);
    markdown_in(&root().join("examples"), &mut pages);
    pages
}

/// The paths in backticks, without a line number. A word in capitals in a file's name stands for any name.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let names = quoted.filter_map(|name| name.split(':').next());
    names.filter(|name| {
        FOLDERS.iter().any(|folder| name.starts_with(folder))
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
            && !["NAME", "NNNN"].iter().any(|any| name.contains(any))
            && *name != MADE
            && !name.starts_with(&format!("{MADE}/"))
    })
}

/// The targets of links.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ', '\n']).next())
        .filter(|target| !target.contains("://"))
}

/// The anchors of a page's headings, as they are made on GitHub.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let letters = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_');
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|title| title.replace(' ', "-").chars().filter(letters).collect())
        .collect()
}

fn broken(page: &Path, target: &str) -> bool {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = match file {
        "" => page.to_owned(),
        file => page.parent().unwrap().join(file),
    };
    if anchor.is_empty() {
        return !file.exists();
    }
    !std::fs::read_to_string(file).is_ok_and(|text| anchors(&text).contains(anchor))
}

#[test]
fn what_the_pages_point_to_exists() {
    let mut wrong = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        let folder = page.parent().unwrap();
        let missing = paths(&text).filter(|path| !root().join(path).exists() && !folder.join(path).exists());
        let broken = links(&text).filter(|target| broken(&page, target));
        wrong.extend(
            missing
                .chain(broken)
                .map(|what| format!("{}: {what}", page.display())),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
