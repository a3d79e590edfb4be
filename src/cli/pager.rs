//! Shows a long result page by page.
//!
//! Guarantees: a pager is started only if standard output is a terminal that the result does not fit on, and only if `PAGER` does not say
//! otherwise (empty, or `cat`). If it cannot be started, the result is printed without it. It does not get the variables of the
//! settings, because some of them are secrets.

use std::ffi::OsString;
use std::io;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// The pager of those who have not chosen one.
const USUAL: &str = "less";
/// How the variables of the settings begin.
const OURS: &[u8] = b"ORW_";
/// What `less` is told, as by git: end if the text fits on the screen, show colours, leave the text on the screen.
const LESS: &str = "FRX";

/// The command that `PAGER` names, or the usual one; `None` if no pager is wanted.
fn command() -> Option<OsString> {
    let chosen = std::env::var_os("PAGER").unwrap_or_else(|| USUAL.into());
    let none = chosen.is_empty() || chosen == "cat";
    let able = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    (able && !none).then_some(chosen)
}

/// Shows this text; gives it back if there is no pager.
pub(super) fn show(text: Vec<u8>) -> Result<(), Vec<u8>> {
    let Some(pager) = command() else { return Err(text) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return Err(text) };
    runtime.block_on(async {
        // Ctrl-C is for the pager: this process waits until it has ended, and leaves the terminal to it.
        let Ok(_interrupts) = signal(SignalKind::interrupt()) else {
            return Err(text);
        };
        let Ok(child) = start(&pager) else {
            return Err(text);
        };
        // If it cannot be found, the shell says so and ends with 127; nothing was shown then.
        match feed(child, &text).await {
            Ok(Some(126 | 127)) => Err(text),
            _ => Ok(()),
        }
    })
}

fn start(pager: &OsString) -> io::Result<Child> {
    let mut command = Command::new("sh");
    command.arg("-c").arg(pager).stdin(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(OURS) {
            command.env_remove(name);
        }
    }
    if std::env::var_os("LESS").is_none() {
        command.env("LESS", LESS);
    }
    command.spawn()
}

/// Writes the text, and waits until the reader has seen enough of it; the exit code.
async fn feed(mut child: Child, text: &[u8]) -> io::Result<Option<i32>> {
    if let Some(mut stdin) = child.stdin.take() {
        // Whoever ends the pager early has seen enough.
        let _: io::Result<()> = stdin.write_all(text).await;
    }
    Ok(child.wait().await?.code())
}
