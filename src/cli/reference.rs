//! The pages `docs/cli.md` and `docs/settings.md`, which are written from the program, and the commands that other pages name, which the
//! program has to know.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory as _};

use super::Cli;
use crate::config::{SETTINGS, Visibility};

fn program() -> Command {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    program
}

/// A text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// Every command with its own options.
fn commands_page() -> String {
    let mut page = String::from(
        "<!-- Generated from the program: `ORW_TEST_BLESS=1 cargo test --lib reference`; `make test` fails if it is out of date. -->\n\
         # Commands\n\n\
         `openregister-webhooks COMMAND --help` shows the same. The settings, which most commands take as flags, too, are on \
         [a page of their own](settings.md).\n\n\
         * Results go to standard output, everything else to standard error. With `--json` the result is JSON.\n\
         * On a terminal, tables fit its width and use colours (not with `NO_COLOR`), ages stand for times (`--absolute` shows the times), \
         and a result that is longer than the screen is shown by `$PAGER` (`less` if it is not set; `PAGER=cat` for none). In a pipe or a file \
         nothing is cut or coloured.\n\
         * Lists are newest first. `--limit` says how long they are, and `--before` with the last id of a list begins the next.\n\
         * Exit codes: 0 done; 1 failed, or there are findings; 2 the command line or the settings are wrong; 3 a part of the running sidecar \
         kept failing. [`health`](deployment.md#is-it-well) has its own meaning of them.\n\
         * `openregister-webhooks completions SHELL` and `openregister-webhooks man --dir DIR` make completions and manual pages.\n\n",
    );
    for command in program().get_subcommands() {
        describe(&mut page, command, "openregister-webhooks");
    }
    page
}

fn describe(page: &mut String, command: &Command, parent: &str) {
    let whole = format!("{parent} {}", command.get_name());
    let short = whole.trim_start_matches("openregister-webhooks ");
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    writeln!(
        page,
        "## {short}\n\n{}.\n",
        about.trim_end_matches('.').replace('<', "\\<")
    )
    .unwrap();
    let usage = command.clone().render_usage().to_string();
    let usage: Vec<&str> = usage
        .trim_start_matches("Usage:")
        .lines()
        .map(str::trim)
        .collect();
    writeln!(page, "```text\n{}\n```\n", usage.join("\n")).unwrap();
    let arguments: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str()))
        .filter(|arg| short != "config" || arg.get_help_heading().is_none())
        .collect();
    if !arguments.is_empty() {
        page.push_str("| | |\n|---|---|\n");
        for arg in arguments {
            writeln!(page, "| `{}` | {} |", cell(&arg.to_string()), cell(&meaning(arg))).unwrap();
        }
        page.push('\n');
    }
    for below in command.get_subcommands() {
        describe(page, below, &whole);
    }
}

fn meaning(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if arg.get_action().takes_values() && !values.is_empty() {
        write!(text, " ({})", values.join(", ")).unwrap();
    }
    let defaults: Vec<String> = arg
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    if arg.get_action().takes_values() && !defaults.is_empty() {
        write!(text, "; default: {}", defaults.join(", ")).unwrap();
    }
    text
}

/// Every setting.
fn settings_page() -> String {
    let mut page = String::from(
        "<!-- Generated from the program: `ORW_TEST_BLESS=1 cargo test --lib reference`; `make test` fails if it is out of date. -->\n\
         # Settings\n\n\
         A setting is given as a variable (`ORW_` and its name in capitals), as a key of a TOML file (`--config FILE` or `ORW_CONFIG`), or as a \
         flag (`--` and its name with dashes). A flag takes precedence over a variable, a variable over the file. A name that does not exist \
         is refused.\n\n\
         * `openregister-webhooks config` shows every setting in effect, where it comes from, and what is wrong with it; secrets are masked. \
         `openregister-webhooks config --help` has this list.\n\
         * Secrets have no flag, because every user of the machine sees the flags of a process. Each has a setting with `_file`.\n\
         * A list in a variable is separated by commas; in TOML it may be an array.\n\
         * All settings are checked before anything starts, and all that is wrong is named at once (exit code 2).\n\n\
         | setting | default | |\n|---|---|---|\n",
    );
    for setting in SETTINGS {
        let default = setting
            .default
            .map_or_else(String::new, |value| format!("`{value}`"));
        let secret = match setting.visibility {
            Visibility::Secret => " *A secret: no flag.*",
            _ => "",
        };
        writeln!(
            page,
            "| `{}` | {default} | {}.{secret} |",
            setting.name,
            cell(setting.about)
        )
        .unwrap();
    }
    page.push_str(
        "\nWhat a webhook may set for itself (limits, retries, format, …) are fields of [its registration](registration.md#further-fields). How long \
         data is kept: [storage](storage.md). The outbox: [its limits](outbox.md). Receivers and proxies: [outgoing](outgoing.md).\n",
    );
    page
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Asserts that the page is as written; with `ORW_TEST_BLESS` it is written first.
fn assert_written(name: &str, text: &str) {
    let path = root().join(name);
    if std::env::var_os("ORW_TEST_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).is_ok_and(|written| written == text),
        "{name} is out of date: ORW_TEST_BLESS=1 cargo test --lib reference"
    );
}

#[test]
fn the_pages_of_commands_and_settings_are_up_to_date() {
    assert_written("docs/cli.md", &commands_page());
    assert_written("docs/settings.md", &settings_page());
}

fn markdown(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            markdown(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "md") {
            found.push(path);
        }
    }
}

/// The words of a command as a shell takes them, up to what is not part of it.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut begun = false;
    for c in command.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => (quote, begun) = (Some(c), true),
            (None, '|' | '>' | '<' | ';' | '&' | '#' | ')') => break,
            // Brackets mean that it may be left out.
            (None, '[' | ']') => {}
            (None, c) if c.is_whitespace() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            (_, c) => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words.retain(|word| word != "\\" && word != "…");
    words
}

/// Whether a command can begin behind this: not where the name is the argument of another.
fn begins(before: &str) -> bool {
    let before = before.trim_end();
    let last = before.rsplit(' ').next().unwrap_or_default();
    before.is_empty()
        || last.contains('=')
        || ["$", "sudo", "'", "(", "&&", "||", ";", "|"]
            .iter()
            .any(|end| before.ends_with(end))
}

/// The commands of a page: in backticks, and lines of blocks. What is broken over lines is joined.
fn commands(text: &str) -> Vec<String> {
    const NAME: &str = "openregister-webhooks ";
    let joined = text.replace("\\\n", " ");
    let mut found = Vec::new();
    let mut block = false;
    for line in joined.lines() {
        if line.trim_start().starts_with("```") {
            block = !block;
        } else if block || line.starts_with("    ") {
            let at = line.find(NAME).filter(|at| block && begins(&line[..*at]));
            found.extend(at.map(|at| line[at..].to_owned()));
        }
    }
    let spans = joined.split('`').skip(1).step_by(2);
    found.extend(
        spans
            .filter(|span| span.starts_with(NAME) && !span.contains('\n'))
            .map(ToOwned::to_owned),
    );
    found
}

#[test]
fn the_program_knows_every_command_that_the_pages_name() {
    let mut pages = vec![root().join("README.md")];
    for folder in ["docs", "deploy", "docker"] {
        markdown(&root().join(folder), &mut pages);
    }
    let (mut known, mut wrong) = (0, Vec::new());
    // That page was written from the program; its usage lines are no commands.
    pages.retain(|page| !page.ends_with("docs/cli.md"));
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for command in commands(&text) {
            // A placeholder is no value, and what is missing is left to the reader.
            match Cli::command().try_get_matches_from(words(&command)) {
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand
                    ) =>
                {
                    wrong.push(format!("{}: {command}: {}", page.display(), error.kind()));
                }
                _ => known += 1,
            }
        }
    }
    assert!(known > 60, "{known}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
