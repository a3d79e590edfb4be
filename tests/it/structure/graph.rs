//! Which file imports which, and what follows from it for modules and for circles.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::{Module, ModulePath, Sources};

/// What stands between two files: the importing file, the file that defines what it takes, and the paths as they are written.
pub(crate) type Edges = BTreeMap<(String, String), BTreeSet<String>>;

/// A re-export may lead to another; a chain that is longer is a mistake of this reader.
const LONGEST_CHAIN: usize = 16;

/// What a path leads to.
enum Found {
    Module(ModulePath),
    /// The file that defines an item.
    Item(String),
}

impl Sources {
    /// The imports between files.
    ///
    /// A `use` of a module is none by itself: what is taken through it is. Nor is a re-export of what stands below the module, which
    /// makes the folder's face: who takes something from there imports the file that defines it.
    pub(crate) fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (path, module) in &self.modules {
            let mut add = |written: &[String], found: Option<Found>| {
                if let Some(Found::Item(file)) = found
                    && file != module.file
                {
                    let key = (module.file.clone(), file);
                    edges.entry(key).or_default().insert(written.join("::"));
                }
            };
            for import in module.imports.values().flatten() {
                let found = self.follow(path, &import.path, LONGEST_CHAIN);
                if !(import.public && self.is_below(path, &import.path)) {
                    add(&import.path, found);
                }
            }
            for glob in &module.globs {
                if let Some(Found::Module(taken)) = self.follow(path, glob, LONGEST_CHAIN) {
                    add(
                        glob,
                        self.modules.get(&taken).map(|m| Found::Item(m.file.clone())),
                    );
                }
            }
            for written in &module.mentions {
                add(written, self.mentioned(path, module, written));
            }
        }
        edges
    }

    /// Where a path leads that is written in the code of a module; a name alone counts only where a `use` item brings it in.
    fn mentioned(&self, from: &ModulePath, module: &Module, written: &[String]) -> Option<Found> {
        if written.len() == 1 && !module.imports.contains_key(&written[0]) {
            return None;
        }
        self.follow(from, written, LONGEST_CHAIN)
    }

    /// Whether a path of `use` leads to something below the module itself.
    fn is_below(&self, from: &ModulePath, path: &[String]) -> bool {
        let below: Vec<String> = match path.first().map(String::as_str) {
            Some("self") => [from.as_slice(), &path[1..]].concat(),
            Some("crate") => [&from[..1], &path[1..]].concat(),
            _ => [from.as_slice(), path].concat(),
        };
        below.len() > from.len()
            && below.starts_with(from)
            && self.modules.contains_key(&below[..=from.len()])
    }

    /// Where a path leads that is written in `from`; `None` where it leaves the workspace.
    fn follow(&self, from: &ModulePath, path: &[String], left: usize) -> Option<Found> {
        assert!(
            left > 0,
            "re-exports without an end: {} in {from:?}",
            path.join("::")
        );
        let (first, rest) = path.split_first()?;
        let module = self.modules.get(from)?;
        match first.as_str() {
            "crate" => self.descend(&from[..1], rest, left),
            "self" => self.descend(from, rest, left),
            "super" => self.follow_up(&from[..from.len() - 1], rest, left),
            name if self
                .modules
                .contains_key(&[from.as_slice(), &[name.to_owned()]].concat()) =>
            {
                self.descend(from, path, left)
            }
            // `use orw_x::y` names the crate, not what another `use` calls so.
            name if self.modules.contains_key(&[name.to_owned()][..]) => {
                self.descend(&[name.to_owned()], rest, left)
            }
            name => module.imports.get(name)?.iter().find_map(|import| {
                // An import of this very name is that of a crate from outside.
                let inside = import.path.first().is_some_and(|outermost| outermost != name);
                let whole = [&import.path[..], rest].concat();
                inside.then(|| self.follow(from, &whole, left - 1)).flatten()
            }),
        }
    }

    fn follow_up(&self, from: &[String], path: &[String], left: usize) -> Option<Found> {
        match path.split_first() {
            Some((first, rest)) if first == "super" => self.follow_up(&from[..from.len() - 1], rest, left),
            _ => self.descend(from, path, left),
        }
    }

    /// Where a path leads inside of a module.
    fn descend(&self, module: &[String], path: &[String], left: usize) -> Option<Found> {
        let Some((first, rest)) = path.split_first() else {
            return Some(Found::Module(module.to_vec()));
        };
        let below = [module, std::slice::from_ref(first)].concat();
        let here = self.modules.get(module)?;
        // A name may stand for a module and for an item, such as a function of the module's name.
        if self.modules.contains_key(&below) && !(rest.is_empty() && self.exports(module, first)) {
            return self.descend(&below, rest, left);
        }
        if here.defines.contains(first) {
            return Some(Found::Item(here.file.clone()));
        }
        for import in here.imports.get(first).into_iter().flatten() {
            let whole = [&import.path[..], rest].concat();
            if let Some(found) = self.follow(&module.to_vec(), &whole, left - 1) {
                return Some(found);
            }
        }
        for glob in &here.globs {
            if let Some(Found::Module(taken)) = self.follow(&module.to_vec(), glob, left - 1)
                && (self.exports(&taken, first)
                    || self
                        .modules
                        .contains_key(&[&taken[..], std::slice::from_ref(first)].concat()))
            {
                return self.descend(&taken, path, left - 1);
            }
        }
        // What comes from outside of the workspace, and what a macro makes, is taken from this file.
        Some(Found::Item(here.file.clone()))
    }

    fn exports(&self, module: &[String], name: &str) -> bool {
        self.modules.get(module).is_some_and(|m| {
            m.defines.contains(name) || m.imports.get(name).is_some_and(|i| i.iter().any(|i| i.public))
        })
    }
}

/// The circles: groups of files each of which imports every other one, directly or by others.
pub(crate) fn circles(edges: &Edges) -> Vec<Vec<String>> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in edges.keys() {
        next.entry(from).or_default().push(to);
    }
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        next.keys().map(|from| (*from, reached(&next, from))).collect();
    let mut circles = BTreeSet::new();
    for (from, reached) in &reach {
        if !reached.contains(from) {
            continue;
        }
        let circle = reached
            .iter()
            .filter(|to| reach.get(*to).is_some_and(|back| back.contains(from)));
        circles.insert(circle.map(ToString::to_string).collect::<Vec<_>>());
    }
    circles.into_iter().collect()
}

fn reached<'a>(next: &BTreeMap<&'a str, Vec<&'a str>>, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut left: Vec<&str> = next.get(from).into_iter().flatten().copied().collect();
    while let Some(file) = left.pop() {
        if reached.insert(file) {
            left.extend(next.get(file).into_iter().flatten());
        }
    }
    reached
}

/// The imports between the top-level modules of the sidecar and the crates, which count as such. Each has one import as an example.
pub(crate) fn between_top_modules(edges: &Edges) -> BTreeMap<(String, String), String> {
    let mut between = BTreeMap::new();
    for ((from, to), written) in edges {
        let key = (top_module(from), top_module(to));
        if key.0 != key.1 {
            let example = written.first().cloned().unwrap_or_default();
            between
                .entry(key)
                .or_insert_with(|| format!("{from} takes {example}"));
        }
    }
    between
}

/// The top-level module that a file belongs to: `capture` for `src/capture/reader.rs`, `orw_model` for `crates/model/src/row.rs`.
fn top_module(file: &str) -> String {
    let mut names = file.split('/');
    let first = names.next().unwrap_or_default();
    let second = names.next().unwrap_or_default();
    match first {
        "crates" => format!("orw_{second}"),
        _ => second.trim_end_matches(".rs").to_owned(),
    }
}
