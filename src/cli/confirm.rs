//! Questions to the person at the terminal.

use std::io::{BufRead as _, IsTerminal as _};

use super::failure::Failure;
use super::output;

/// Whether there is somebody to ask.
pub(super) fn can_ask() -> bool {
    std::io::stdin().is_terminal() && output::asks_are_seen()
}

/// Asks for confirmation; only `yes` is one.
///
/// # Errors
/// If there is no terminal, or the answer cannot be read.
pub(super) fn agreed(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "{question} There is no terminal to ask at: confirm with --yes"
        )));
    }
    output::ask(question);
    let answer = line().map_err(|error| {
        Failure::Failed(format!("the answer cannot be read: {error}; confirm with --yes"))
    })?;
    Ok(answer.eq_ignore_ascii_case("yes"))
}

/// Asks for a text; an empty answer gives the default value.
///
/// # Errors
/// If the answer cannot be read.
pub(super) fn text(question: &str, default: Option<&str>) -> Result<String, Failure> {
    let shown = default
        .filter(|default| !default.is_empty())
        .map_or_else(String::new, |default| format!(" [{default}]"));
    output::prompt(format_args!("{question}{shown}: "));
    let answer = line().map_err(|error| Failure::Failed(format!("the answer cannot be read: {error}")))?;
    Ok(match default {
        Some(default) if answer.is_empty() => default.to_owned(),
        _ => answer,
    })
}

fn line() -> std::io::Result<String> {
    let mut answer = String::new();
    if std::io::stdin().lock().read_line(&mut answer)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer.trim().to_owned())
}
