//! The flags for settings, for every command that reads them: one for each setting that is no secret, from the one list. Only
//! `config --help` shows them; the help of the other commands shows their own flags, and says where the settings are.

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};

use crate::config::{SETTINGS, Setting, Sources};

/// The heading in `config --help`.
const HEADING: &str = "Settings (also ORW_… in the environment, or keys of the TOML file)";
/// What the help of the other commands ends with.
const ELSEWHERE: &str = "Settings: `--config FILE`, and a flag for each setting. `openregister-webhooks config --help` lists them";

/// Each setting with the name of its flag; clap needs names that live as long as the program.
static FLAGS: LazyLock<Vec<(&'static Setting, String)>> = LazyLock::new(|| {
    SETTINGS
        .iter()
        .filter_map(|setting| Some((setting, setting.flag()?)))
        .collect()
});

/// `--config` and the flags of the settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct SettingsArgs {
    file: Option<PathBuf>,
    flags: Vec<(&'static str, String)>,
}

impl SettingsArgs {
    /// These flags and this process's environment.
    pub(crate) fn sources(self) -> Sources {
        Sources::of_process(self.file, self.flags)
    }
}

/// What every command about the stored data takes.
#[derive(Debug, Clone, Args)]
pub(super) struct CommonArgs {
    /// Print the result as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) settings: SettingsArgs,
}

impl FromArgMatches for SettingsArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut this = Self::default();
        this.update_from_arg_matches(matches)?;
        Ok(this)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        if let Some(file) = matches.get_one::<PathBuf>("config") {
            self.file = Some(file.clone());
        }
        self.flags.extend(FLAGS.iter().filter_map(|(setting, _)| {
            let value = matches.get_one::<String>(setting.name)?;
            Some((setting.name, value.clone()))
        }));
        Ok(())
    }
}

impl SettingsArgs {
    fn flags() -> impl Iterator<Item = Arg> {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .help("A TOML file with settings [env: ORW_CONFIG]")
            .value_parser(value_parser!(PathBuf))
            .help_heading(HEADING);
        let flags = FLAGS.iter().map(|(setting, flag)| {
            let default = setting
                .default
                .map_or_else(String::new, |value| format!(" [default: {value}]"));
            let mut arg = Arg::new(setting.name)
                .long(flag.as_str())
                .value_name("VALUE")
                .help(format!("{}{default}", setting.about))
                .help_heading(HEADING);
            if setting.default == Some("false") {
                arg = arg
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true");
            }
            arg
        });
        std::iter::once(config).chain(flags)
    }
}

impl Args for SettingsArgs {
    fn augment_args(command: Command) -> Command {
        command
            .args(Self::flags().map(|flag| flag.hide(true)))
            .after_help(ELSEWHERE)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Removes clap's suggestion if the suggested name differs too much. Hidden flags of the settings would otherwise be suggested for almost any
/// mistake.
pub(super) fn without_far_hint(mut error: clap::Error) -> clap::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let pair = text(ContextKind::InvalidArg).zip(text(ContextKind::SuggestedArg));
    if pair.is_some_and(|(given, hint)| strsim::levenshtein(&given, &hint) > FAR) {
        error.remove(ContextKind::SuggestedArg);
    }
    error
}

/// Names that differ in more characters are not similar.
const FAR: usize = 3;

/// The same flags, shown: for `config`, whose help is the list of all settings.
#[derive(Debug, Clone, Default)]
pub(super) struct ListedSettingsArgs(pub(super) SettingsArgs);

impl FromArgMatches for ListedSettingsArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        SettingsArgs::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl Args for ListedSettingsArgs {
    fn augment_args(command: Command) -> Command {
        command.args(SettingsArgs::flags()).after_help(secrets())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The settings that have no flag.
fn secrets() -> String {
    let secrets = SETTINGS.iter().filter(|setting| setting.flag().is_none());
    let lines = secrets.map(|setting| format!("  {}\n          {}", setting.variable(), setting.about));
    std::iter::once(
        "Secrets (without a flag, because every user of the machine can see the flags of a process):"
            .to_owned(),
    )
    .chain(lines)
    .collect::<Vec<_>>()
    .join("\n")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        settings: SettingsArgs,
    }

    #[test]
    fn every_open_setting_is_a_flag_and_no_secret_is() {
        let program = Program::try_parse_from([
            "x",
            "--listen",
            "127.0.0.1:9",
            "--targets-allow-http",
            "--config",
            "/etc/orw.toml",
        ])
        .unwrap();
        let flags = [
            ("listen", "127.0.0.1:9".to_owned()),
            ("targets_allow_http", "true".to_owned()),
        ];
        assert_eq!(program.settings.flags, flags);
        assert_eq!(program.settings.file, Some(PathBuf::from("/etc/orw.toml")));
        for secret in ["--master-key", "--admins"] {
            Program::try_parse_from(["x", secret, "y"]).unwrap_err();
        }
    }
}
