//! `man`: a manual page for each command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_mangen::Man;

use super::output;

/// The page of the whole program, which is written by hand.
const WHOLE: &str = include_str!("../../deploy/systemd/openregister-webhooks.8");
/// System administration.
const SECTION: &str = "8";

/// Write a manual page for each command to a directory. To read one: `man ./man/openregister-webhooks-doctor.8`
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The directory; it is made if it does not exist
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

/// Writes the pages of `program`.
pub(super) fn run(args: &ManArgs, program: Command) -> anyhow::Result<ExitCode> {
    fs::create_dir_all(&args.dir).with_context(|| format!("cannot make {}", args.dir.display()))?;
    let mut program = program.disable_help_subcommand(true);
    program.build();
    write(&args.dir, "openregister-webhooks", WHOLE.as_bytes())?;
    let mut count = 1;
    for command in program.get_subcommands() {
        count += pages(&args.dir, command, program.get_version().unwrap_or_default())?;
    }
    output::say(format_args!(
        "{count} pages were written to {}",
        args.dir.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// The page of a command, and those of its subcommands; how many.
fn pages(dir: &Path, command: &Command, version: &str) -> anyhow::Result<usize> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let page = Man::new(command.clone())
        .section(SECTION)
        .manual("System administration")
        .source(format!("openregister-webhooks {version}"));
    let mut text = Vec::new();
    page.render(&mut text)?;
    text.extend_from_slice(b".SH \"SEE ALSO\"\n.BR openregister\\-webhooks (8)\n");
    write(dir, name, &text)?;
    let mut count = 1;
    for below in command.get_subcommands() {
        count += pages(dir, below, version)?;
    }
    Ok(count)
}

fn write(dir: &Path, name: &str, text: &[u8]) -> anyhow::Result<()> {
    let path = dir.join(format!("{name}.{SECTION}"));
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
