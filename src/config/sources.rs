//! The sources of settings: environment variables, a TOML file, flags.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::file::read_file;
use super::problem::Problem;
use super::setting::Setting;
use super::values::{Origin, Values, put, unknown};

/// The variable that names the TOML file.
const CONFIG_VARIABLE: &str = "ORW_CONFIG";
/// Variables of the project's own tests are not settings.
const TEST_PREFIX: &str = "ORW_TEST_";
/// Nor are those of single commands.
const COMMAND_VARIABLES: [&str; 2] = [CONFIG_VARIABLE, "ORW_RECEIVE_SECRET"];

/// Variables that other programs read, too, with the setting that takes its value from them if it has no other. A later line takes
/// precedence over an earlier one.
const STANDARD: [(&str, &str); 6] = [
    ("HTTPS_PROXY", "https_proxy"),
    ("https_proxy", "https_proxy"),
    ("HTTP_PROXY", "http_proxy"),
    ("http_proxy", "http_proxy"),
    ("NO_PROXY", "no_proxy"),
    ("no_proxy", "no_proxy"),
];

/// Where settings are read from, once, at the start.
#[derive(Clone, Default)]
pub struct Sources {
    /// The environment, or a part of it with every `ORW_` variable and the standard variables of proxies.
    pub environment: BTreeMap<String, String>,
    /// `--config`.
    pub file: Option<PathBuf>,
    /// Flags: the name of a setting and its value.
    pub flags: Vec<(&'static str, String)>,
}

/// Values may be secret, so only names are shown.
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
    /// The environment of this process, and what its command line says.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(&'static str, String)>) -> Self {
        // Under CGI, HTTP_PROXY holds the header `Proxy:` of whoever sent the request.
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

/// Merges the sources. What cannot be used is reported and left out.
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
        if COMMAND_VARIABLES.contains(&variable.as_str()) || variable.starts_with(TEST_PREFIX) {
            continue;
        }
        let Some(name) = variable.strip_prefix("ORW_") else {
            continue;
        };
        match Setting::find(&name.to_lowercase()).filter(|s| s.variable() == *variable) {
            // Compose files and systemd units leave a setting out by an empty variable.
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
