//! Where settings come from, before anything is understood of them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::load::Problem;
use super::setting::{SETTINGS, Setting};

/// The file named in the environment.
const CONFIG_VARIABLE: &str = "ORW_CONFIG";
/// Variables of the project's own tests are no settings, nor are those of single commands.
const TEST_PREFIX: &str = "ORW_TEST_";
const OF_COMMANDS: [&str; 2] = [CONFIG_VARIABLE, "ORW_RECEIVE_SECRET"];

/// What other programs read too, the stronger last: each is a setting of ours that nothing else gives.
const STANDARD: [(&str, &str); 6] = [
    ("HTTPS_PROXY", "https_proxy"),
    ("https_proxy", "https_proxy"),
    ("HTTP_PROXY", "http_proxy"),
    ("http_proxy", "http_proxy"),
    ("NO_PROXY", "no_proxy"),
    ("no_proxy", "no_proxy"),
];

/// Where a value came from; the later beats the earlier.
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

/// What was given, as text; read once, at start.
#[derive(Clone, Default)]
pub struct Sources {
    /// The environment, or a part of it that holds every `ORW_` variable and the standard ones of proxies.
    pub environment: BTreeMap<String, String>,
    /// `--config`.
    pub file: Option<PathBuf>,
    /// Flags: a setting's name and its value.
    pub flags: Vec<(&'static str, String)>,
}

/// Values may be secret: names only.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = self.flags.iter().map(|(name, _)| name);
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("flags", &flags.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Sources {
    /// This process's environment, and what its command line said.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(&'static str, String)>) -> Self {
        // Under CGI a caller's header `Proxy:` arrives as HTTP_PROXY; nobody else means that.
        let cgi = std::env::var_os("REQUEST_METHOD").is_some();
        let ours = |name: &std::ffi::OsString| {
            name.as_encoded_bytes().starts_with(b"ORW_")
                || STANDARD.iter().any(|(standard, _)| name == standard) && !(cgi && name == "HTTP_PROXY")
        };
        let environment = std::env::vars_os()
            .filter(|(name, _)| ours(name))
            .map(|(name, value)| {
                (
                    name.to_string_lossy().into_owned(),
                    value.to_string_lossy().into_owned(),
                )
            })
            .collect();
        Self {
            environment,
            file,
            flags,
        }
    }
}

/// A value that was given.
#[derive(Clone)]
pub(super) struct RawSetting {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// Every setting that was given, by its name; the value of highest precedence.
pub(super) type Values = BTreeMap<&'static str, RawSetting>;

/// Puts the sources together. What cannot be used is told and left out.
pub(super) fn gather(sources: &Sources, problems: &mut Vec<Problem>) -> Values {
    let mut values = Values::new();
    for (variable, name) in STANDARD {
        let text = sources.environment.get(variable).filter(|text| !text.is_empty());
        if let (Some(text), Some(setting)) = (text, Setting::find(name)) {
            let origin = Origin::Variable(variable.to_owned());
            put(&mut values, setting, text.clone(), origin);
        }
    }
    let named = sources.environment.get(CONFIG_VARIABLE).filter(|v| !v.is_empty());
    if let Some(path) = sources.file.clone().or_else(|| named.map(PathBuf::from)) {
        read_file(&path, &mut values, problems);
    }
    for (variable, text) in &sources.environment {
        if OF_COMMANDS.contains(&variable.as_str()) || variable.starts_with(TEST_PREFIX) {
            continue;
        }
        let Some(name) = variable.strip_prefix("ORW_") else {
            continue;
        };
        match Setting::find(&name.to_lowercase()).filter(|s| s.variable() == *variable) {
            // An empty variable is how compose files and units leave a setting out.
            Some(_) if text.is_empty() => {}
            Some(setting) => put(
                &mut values,
                setting,
                text.clone(),
                Origin::Variable(variable.clone()),
            ),
            None => problems.push(unknown(variable, &name.to_lowercase(), Setting::variable)),
        }
    }
    for (name, text) in &sources.flags {
        if let Some(setting) = Setting::find(name) {
            let flag = setting.flag().unwrap_or_default();
            put(&mut values, setting, text.clone(), Origin::Flag(flag));
        }
    }
    values
}

/// A value, or its `_file` form, hides the other form of a lower source.
fn put(values: &mut Values, setting: &'static Setting, text: String, origin: Origin) {
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
            .is_some_and(|given| !same_rank(&given.origin, &origin))
    {
        values.remove(twin.name);
    }
    values.insert(setting.name, RawSetting { text, origin });
}

const fn same_rank(a: &Origin, b: &Origin) -> bool {
    matches!(
        (a, b),
        (Origin::File(_), Origin::File(_))
            | (Origin::Variable(_), Origin::Variable(_))
            | (Origin::Flag(_), Origin::Flag(_))
    )
}

fn read_file(path: &Path, values: &mut Values, problems: &mut Vec<Problem>) {
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            return problems.push(Problem::new(
                name,
                format!("cannot be read: {error}; give --config a readable file"),
            ));
        }
    };
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            // The parser's own text would quote the line, which may hold a secret.
            let error: toml::de::Error = error;
            let line = error
                .span()
                .map_or(0, |span| text[..span.start].lines().count().max(1));
            return problems.push(Problem::new(
                name,
                format!("is not TOML: line {line}: {}", error.message()),
            ));
        }
    };
    for (key, value) in table {
        let Some(setting) = Setting::find(&key) else {
            let mut problem = unknown(&key, &key, |setting| setting.name.to_owned());
            problem.reason = format!("in {name}: {}", problem.reason);
            problems.push(problem);
            continue;
        };
        match as_text(&value) {
            Some(text) => put(values, setting, text, Origin::File(path.to_owned())),
            None => problems.push(Problem::new(
                key,
                format!("in {name} must be a string, a number, true or false, or a list of strings"),
            )),
        }
    }
}

/// A list is what it would be with commas.
fn as_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(yes) => Some(yes.to_string()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        _ => None,
    }
}

/// Says that a name does not exist, and which one was probably meant.
fn unknown(given: &str, name: &str, spelt: impl Fn(&Setting) -> String) -> Problem {
    let closest = SETTINGS.iter().min_by_key(|setting| distance(setting.name, name));
    let reason = match closest {
        Some(setting) if distance(setting.name, name) <= 1 + name.len() / 4 => {
            format!("there is no such setting; did you mean {}?", spelt(setting))
        }
        _ => "there is no such setting; `openregister-webhooks config` lists them all".to_owned(),
    };
    Problem::new(given, reason)
}

/// How many letters differ (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distance_counts_letters() {
        assert_eq!(distance("listen", "listen"), 0);
        assert_eq!(distance("listen", "lisen"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
