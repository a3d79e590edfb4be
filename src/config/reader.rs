//! Reads one setting after the other into a field.

use std::path::Path;

use super::parse::Parsed;
use super::problem::Problem;
use super::values::{Origin, Values};

/// Parses the values one by one and collects what is wrong.
pub(super) struct Reader {
    pub(super) values: Values,
    pub(super) problems: Vec<Problem>,
}

impl Reader {
    /// Sets `field` to the value of the setting `name`, if it has one.
    pub(super) fn set<T>(&mut self, name: &'static str, field: &mut T, parse: impl Fn(&str) -> Parsed<T>) {
        let Some(given) = self.values.get(name) else {
            return;
        };
        match parse(&given.text) {
            Ok(value) => *field = value,
            Err(reason) => self
                .problems
                .push(Problem::new(origin_name(name, &given.origin), reason)),
        }
    }

    pub(super) fn set_some<T>(
        &mut self,
        name: &'static str,
        field: &mut Option<T>,
        parse: impl Fn(&str) -> Parsed<T>,
    ) {
        self.set(name, field, |text| parse(text).map(Some));
    }

    /// Sets `field` from the file that the setting `name` names.
    pub(super) fn set_file<T>(
        &mut self,
        name: &'static str,
        field: &mut T,
        parse: impl Fn(&str) -> Parsed<T>,
    ) {
        self.set(name, field, |path| {
            let text = zeroize::Zeroizing::new(read_secret(Path::new(path))?);
            parse(&text)
        });
    }

    /// Sets `field` from the setting `name`, or from the file that the setting `file` names; both at once are a mistake.
    pub(super) fn set_or_file<T>(
        &mut self,
        name: &'static str,
        file: &'static str,
        field: &mut T,
        parse: impl Fn(&str) -> Parsed<T>,
        parse_file: impl Fn(&str) -> Parsed<T>,
    ) {
        if let (Some(a), Some(b)) = (self.values.get(name), self.values.get(file)) {
            let (a, b) = (origin_name(name, &a.origin), origin_name(file, &b.origin));
            self.problems
                .push(Problem::new(a, format!("is given, and {b} too; leave one out")));
            return;
        }
        self.set(name, field, parse);
        self.set(file, field, |path| {
            let text = read_secret(Path::new(path))?;
            parse_file(&text)
        });
    }
}

/// The name of a setting as the administrator wrote it.
fn origin_name(name: &str, origin: &Origin) -> String {
    match origin {
        Origin::File(path) => format!("{name} in {}", path.display()),
        other => other.to_string(),
    }
}

fn read_secret(path: &Path) -> Parsed<String> {
    std::fs::read_to_string(path).map_err(|error| {
        format!(
            "{} cannot be read: {error}; check the path and its owner",
            path.display()
        )
    })
}
