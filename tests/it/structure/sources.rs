//! The sources as a tree of modules: which file each module stands in, what it defines, and what its `use` items bring in.
//!
//! Only what the program itself is made of is read: an item behind `#[cfg(test)]` and the file of such a module are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::tokens::{self, Tree};

/// The crate that a module belongs to, then the names of the modules down to it.
pub(crate) type ModulePath = Vec<String>;

/// A name that a `use` item brings into a module.
#[derive(Debug, Clone)]
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    /// Whether others may take the name from here, too.
    pub(crate) public: bool,
}

/// One module.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// Relative to the root of the tree, with `/`.
    pub(crate) file: String,
    pub(crate) defines: BTreeSet<String>,
    /// By the name that it has here; a module, a function and a macro may share one.
    pub(crate) imports: BTreeMap<String, Vec<Import>>,
    /// `use path::*`.
    pub(crate) globs: Vec<Vec<String>>,
    /// Paths that are written out in the code, in macro calls and in attributes.
    pub(crate) mentions: BTreeSet<Vec<String>>,
}

/// All modules of all crates of a tree.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub(crate) modules: BTreeMap<ModulePath, Module>,
}

/// What begins an item, before the word that says what it is.
const MODIFIERS: [&str; 5] = ["pub", "async", "unsafe", "extern", "default"];
/// Items that end with a semicolon, whatever stands in brackets before it.
const STATEMENTS: [&str; 4] = ["use", "const", "static", "type"];
/// Items that have a name of their own.
const NAMED: [&str; 9] = [
    "const",
    "enum",
    "fn",
    "macro_rules",
    "static",
    "struct",
    "trait",
    "type",
    "union",
];

impl Sources {
    /// Reads a crate: `root` is the tree, `file` the crate's root file below it.
    pub(crate) fn read_crate(&mut self, root: &Path, name: &str, file: &str) {
        self.module_file(root, vec![name.to_owned()], Path::new(file), true);
    }

    /// Reads a module's file, and those of the modules below it. `owns_folder` is whether its children stand beside it.
    fn module_file(&mut self, root: &Path, path: ModulePath, file: &Path, owns_folder: bool) {
        let whole = root.join(file);
        let text = std::fs::read_to_string(&whole).unwrap_or_else(|e| panic!("{}: {e}", whole.display()));
        let folder = if owns_folder {
            file.parent().unwrap_or(Path::new("")).to_owned()
        } else {
            file.with_extension("")
        };
        self.module(root, path, file, &folder, &tokens::read(&text));
    }

    fn module(&mut self, root: &Path, path: ModulePath, file: &Path, folder: &Path, trees: &[Tree]) {
        let mut module = Module {
            file: file.display().to_string(),
            ..Module::default()
        };
        let mut left = trees;
        while !left.is_empty() {
            let (item, rest) = next_item(left);
            left = rest;
            if item.only_for_tests() {
                continue;
            }
            if item.kind == "mod" {
                let mut below = path.clone();
                let name = item.name().unwrap_or_default();
                below.push(name.clone());
                if let Some(Tree::Group('{', inner)) = item.trees.last() {
                    self.module(root, below, file, &folder.join(&name), inner);
                } else if root.join(folder).join(format!("{name}.rs")).is_file() {
                    self.module_file(root, below, &folder.join(format!("{name}.rs")), false);
                } else {
                    self.module_file(root, below, &folder.join(&name).join("mod.rs"), true);
                }
                continue;
            }
            if NAMED.contains(&item.kind) {
                module.defines.extend(item.name());
            }
            module.collect(item.attributes);
            match item.trees {
                // The names of variants are no paths; what they hold has some.
                [.., Tree::Group('{', variants)] if item.kind == "enum" => {
                    let groups = variants.iter().filter(|tree| matches!(tree, Tree::Group(..)));
                    module.collect(&groups.cloned().collect::<Vec<_>>());
                }
                trees => module.collect(trees),
            }
        }
        self.modules.insert(path, module);
    }
}

/// An item, or another piece of source that ends as one does.
struct Item<'a> {
    attributes: &'a [Tree],
    /// The word that says what it is.
    kind: &'a str,
    trees: &'a [Tree],
}

/// The item at the beginning, and what follows it.
fn next_item(trees: &[Tree]) -> (Item<'_>, &[Tree]) {
    let mut at = 0;
    while trees.get(at).is_some_and(|tree| tree.is_sign('#')) {
        at += 1 + usize::from(trees.get(at + 1).is_some_and(|tree| tree.is_sign('!')));
        at += 1;
    }
    let (attributes, trees) = trees.split_at(at.min(trees.len()));
    let kind = kind(trees);
    let last = trees.iter().position(|tree| match tree {
        Tree::Sign(';') => true,
        Tree::Group('{', _) => !STATEMENTS.contains(&kind),
        _ => false,
    });
    let (trees, rest) = trees.split_at(last.map_or(trees.len(), |last| last + 1));
    let item = Item {
        attributes,
        kind,
        trees,
    };
    (item, rest)
}

/// The word that says what an item is; empty where there is none.
fn kind(trees: &[Tree]) -> &str {
    let mut names = trees.iter().filter_map(|tree| match tree {
        Tree::Name(name) => Some(name.as_str()),
        _ => None,
    });
    let first = names.find(|name| !MODIFIERS.contains(name)).unwrap_or_default();
    // `const fn` is a function, and so is `const unsafe fn`.
    match (first, names.find(|name| !MODIFIERS.contains(name))) {
        ("const", Some("fn")) => "fn",
        (first, _) => first,
    }
}

impl Item<'_> {
    fn name(&self) -> Option<String> {
        let place = self.trees.iter().position(|tree| tree.is_name(self.kind))?;
        self.trees[place + 1..].iter().find_map(|tree| match tree {
            Tree::Name(name) if name != "mut" => Some(name.clone()),
            _ => None,
        })
    }

    fn only_for_tests(&self) -> bool {
        only_for_tests(self.attributes)
    }
}

/// Whether one of these attributes says that an item is compiled for tests alone.
fn only_for_tests(attributes: &[Tree]) -> bool {
    attributes.iter().any(|attribute| match attribute {
        Tree::Group('[', inner) => match inner.as_slice() {
            [name, Tree::Group('(', condition)] => name.is_name("cfg") && needs_test(condition),
            _ => false,
        },
        _ => false,
    })
}

/// Whether a condition can hold in a build of tests only.
fn needs_test(condition: &[Tree]) -> bool {
    match condition {
        [name] => name.is_name("test"),
        [name, Tree::Group('(', inner)] if name.is_name("all") => {
            inner.split(|tree| tree.is_sign(',')).any(needs_test)
        }
        [name, Tree::Group('(', inner)] if name.is_name("any") => {
            let mut conditions = inner.split(|tree| tree.is_sign(',')).filter(|c| !c.is_empty());
            conditions.clone().next().is_some() && conditions.all(needs_test)
        }
        _ => false,
    }
}

impl Module {
    /// Takes imports and paths out of source, also those inside of functions.
    fn collect(&mut self, trees: &[Tree]) {
        let mut at = 0;
        while at < trees.len() {
            let left = &trees[at..];
            at += match left {
                [Tree::Sign('#'), Tree::Group('[', inner), ..] => {
                    if only_for_tests(&left[..2]) {
                        left.len() - next_item(left).1.len()
                    } else {
                        self.attribute(inner);
                        2
                    }
                }
                // Not the `use<'a>` of a type.
                [Tree::Name(name), next, ..] if name == "use" && !next.is_sign('<') => {
                    let end = left
                        .iter()
                        .position(|tree| tree.is_sign(';'))
                        .unwrap_or(left.len());
                    let public = at > 0 && is_public(&trees[..at]);
                    self.use_tree(&left[1..end], Vec::new(), public);
                    end
                }
                // The name of a field or of a method is no path.
                [Tree::Sign('.') | Tree::Separator, Tree::Name(_), ..] => 2,
                [Tree::Name(_), ..] => self.mention(left),
                [Tree::Group(_, inner), ..] => {
                    self.collect(inner);
                    1
                }
                _ => 1,
            };
        }
    }

    /// A path at the beginning; returns how many trees it takes.
    fn mention(&mut self, trees: &[Tree]) -> usize {
        let mut path = Vec::new();
        let mut at = 0;
        while let Some(Tree::Name(name)) = trees.get(at) {
            path.push(name.clone());
            at += 1;
            if trees.get(at) == Some(&Tree::Separator) && matches!(trees.get(at + 1), Some(Tree::Name(_))) {
                at += 1;
            } else {
                break;
            }
        }
        // A name before a colon is that of a field or of a variable.
        if path.len() > 1 || !trees.get(at).is_some_and(|tree| tree.is_sign(':')) {
            self.mentions.insert(path);
        }
        at
    }

    /// The paths of an attribute; serde names functions by strings.
    fn attribute(&mut self, inner: &[Tree]) {
        self.collect(inner);
        for tree in inner {
            match tree {
                Tree::Group(_, inner) => self.attribute(inner),
                Tree::Text(text) if text.contains("::") && !text.contains(char::is_whitespace) => {
                    self.collect(&tokens::read(text));
                }
                _ => {}
            }
        }
    }

    fn use_tree(&mut self, trees: &[Tree], mut path: Vec<String>, public: bool) {
        match trees {
            [] => {}
            [Tree::Group('{', inner)] => {
                for tree in inner.split(|tree| tree.is_sign(',')) {
                    self.use_tree(tree, path.clone(), public);
                }
            }
            [Tree::Sign('*')] => self.globs.push(path),
            [Tree::Name(name), Tree::Separator, rest @ ..] => {
                path.push(name.clone());
                self.use_tree(rest, path, public);
            }
            [Tree::Separator, rest @ ..] => self.use_tree(rest, path, public),
            [Tree::Name(name), rest @ ..] => {
                if name != "self" || path.is_empty() {
                    path.push(name.clone());
                }
                let here = match rest {
                    // What is imported for its methods alone has no name, but it is imported.
                    [_, Tree::Name(renamed)] if renamed == "_" => format!("_{}", path.join("::")),
                    [_, Tree::Name(renamed)] => renamed.clone(),
                    _ => path.last().cloned().unwrap_or_default(),
                };
                self.imports
                    .entry(here)
                    .or_default()
                    .push(Import { path, public });
            }
            other => panic!("no import: {other:?}"),
        }
    }
}

/// Whether a visibility stands at the end.
fn is_public(before: &[Tree]) -> bool {
    match before {
        [.., visibility, Tree::Group('(', _)] => visibility.is_name("pub"),
        [.., visibility] => visibility.is_name("pub"),
        [] => false,
    }
}
