//! `completions`: what a shell needs to complete commands and flags.

use std::process::ExitCode;

use clap::{Args, Command, ValueEnum};
use clap_complete::{Shell, generate};

use super::output;

/// Print the completions for a shell. Bash: add `source <(openregister-webhooks completions bash)` to ~/.bashrc
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Offered,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Offered {
    Bash,
    Fish,
    Powershell,
    Zsh,
}

/// Prints the completions of `program`.
pub(super) fn run(args: &CompletionsArgs, mut program: Command) -> ExitCode {
    let shell = match args.shell {
        Offered::Bash => Shell::Bash,
        Offered::Fish => Shell::Fish,
        Offered::Powershell => Shell::PowerShell,
        Offered::Zsh => Shell::Zsh,
    };
    let mut script = Vec::new();
    generate(shell, &mut program, "openregister-webhooks", &mut script);
    output::page(String::from_utf8_lossy(&script).trim_end());
    ExitCode::SUCCESS
}
