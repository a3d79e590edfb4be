//! The values of settings as text, before anything of them is understood.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::problem::Problem;
use super::setting::{SETTINGS, Setting};

/// Where a value came from; a later one in this list takes precedence over an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    Default,
    File(PathBuf),
    Variable(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// A value as the administrator wrote it.
#[derive(Clone)]
pub(super) struct RawSetting {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// The value of highest precedence for every setting that has one, by the setting's name.
pub(super) type Values = BTreeMap<&'static str, RawSetting>;

/// Adds a value. A value or its `_file` form replaces the other form if that comes from a source of lower precedence.
pub(super) fn put(values: &mut Values, setting: &'static Setting, text: String, origin: Origin) {
    let twin = setting.name.strip_suffix("_file").map_or_else(
        || {
            SETTINGS
                .iter()
                .find(|s| s.name.strip_suffix("_file") == Some(setting.name))
        },
        Setting::find,
    );
    if let Some(twin) = twin
        && values
            .get(twin.name)
            .is_some_and(|other| !same_source(&other.origin, &origin))
    {
        values.remove(twin.name);
    }
    values.insert(setting.name, RawSetting { text, origin });
}

const fn same_source(a: &Origin, b: &Origin) -> bool {
    matches!(
        (a, b),
        (Origin::File(_), Origin::File(_))
            | (Origin::Variable(_), Origin::Variable(_))
            | (Origin::Flag(_), Origin::Flag(_))
    )
}

/// The problem that a name does not exist, with the name that was probably meant.
pub(super) fn unknown(given: &str, name: &str, spelt: impl Fn(&Setting) -> String) -> Problem {
    let distance = |setting: &&Setting| strsim::levenshtein(setting.name, name);
    let closest = SETTINGS.iter().min_by_key(distance);
    let reason = match closest {
        Some(setting) if distance(&setting) <= 1 + name.len() / 4 => {
            format!("there is no such setting; did you mean {}?", spelt(setting))
        }
        _ => "there is no such setting; `openregister-webhooks config` lists them all".to_owned(),
    };
    Problem::new(given, reason)
}
