//! A person at several terminals in one directory: commands that end, and commands that go on. What a block exports, and the directory that
//! it changes to, hold for the blocks after it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use crate::support::wait::{PATIENCE, until_contains};

/// Begins every block: takes over what the blocks before it have exported.
const BEGIN: &str = "set -e -o pipefail\n[ ! -e \"$DOCS_TEST.exports\" ] || . \"$DOCS_TEST.exports\"\n\
                     [ ! -e \"$DOCS_TEST.folder\" ] || cd \"$(cat \"$DOCS_TEST.folder\")\"\n";
/// Keeps what a block has exported.
const KEEP: &str =
    "trap 'code=$?; export -p >\"$DOCS_TEST.exports\"; pwd >\"$DOCS_TEST.folder\"; exit $code' EXIT\n";

/// The person.
#[derive(Debug)]
pub(super) struct Session {
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
    /// Where the next block is typed: what was exported elsewhere does not hold there.
    at: String,
    terminals: Vec<Terminal>,
}

/// A command that goes on.
#[derive(Debug)]
struct Terminal {
    text: String,
    output: PathBuf,
    child: Child,
}

/// What a block printed, both streams in their order, and its exit code.
#[derive(Debug)]
pub(super) struct Printed {
    pub(super) code: i32,
    pub(super) text: String,
}

impl Session {
    /// In an empty directory, with the built program in the path and these variables.
    pub(super) fn new(environment: Vec<(String, String)>) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            environment,
            at: "first".to_owned(),
            terminals: Vec::new(),
        }
    }

    /// Turns to the terminal with this name.
    pub(super) fn turn_to(&mut self, name: &str) {
        name.clone_into(&mut self.at);
    }

    /// A file in the directory.
    pub(super) fn write(&self, name: &str, text: &str) {
        let home = self.folder.path().join("home");
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(home.join(name), text).unwrap();
    }

    fn shell(&self, script: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_openregister-webhooks"));
        let others = std::env::var("PATH").unwrap();
        let home = self.folder.path().join("home");
        let own = self.folder.path().join("own");
        for folder in [&home, &own] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let mut command = Command::new("bash");
        command
            .args(["-c", script])
            .env_clear()
            .env(
                "PATH",
                format!("{}:{others}", program.parent().unwrap().display()),
            )
            .env("HOME", &home)
            .env("TMPDIR", std::env::temp_dir())
            .env("DOCS_TEST", own.join(&self.at))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(home)
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    /// Runs commands to their end.
    pub(super) async fn run(&self, commands: &str, typed: &str) -> Printed {
        let script = format!("exec 2>&1\n{BEGIN}{KEEP}{commands}\n");
        let mut child = self
            .shell(&script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A block that reads nothing may have ended already.
        let _ = stdin.write_all(typed.as_bytes()).await;
        drop(stdin);
        let done = tokio::time::timeout(PATIENCE, child.wait_with_output())
            .await
            .unwrap_or_else(|_| panic!("it does not end: {commands}"))
            .unwrap();
        Printed {
            code: done.status.code().unwrap_or(-1),
            text: String::from_utf8_lossy(&done.stdout).into_owned(),
        }
    }

    /// Starts commands that go on, and waits until they have printed this.
    pub(super) async fn open(&mut self, commands: &str, ready: &str) -> Result<(), String> {
        let output = self
            .folder
            .path()
            .join(format!("terminal-{}", self.terminals.len()));
        let file = std::fs::File::create(&output).unwrap();
        let child = self
            .shell(&format!("exec 2>&1\n{BEGIN}{commands}\n"))
            .stdin(Stdio::null())
            .stdout(file)
            .spawn()
            .unwrap();
        self.terminals.push(Terminal {
            text: commands.to_owned(),
            output: output.clone(),
            child,
        });
        let terminal = self.terminals.last_mut().unwrap();
        tokio::select! {
            _ = until_contains(&output, ready) => Ok(()),
            ended = terminal.child.wait() => {
                let said = std::fs::read_to_string(&output).unwrap_or_default();
                // It may have printed it and ended in between.
                if said.contains(ready) { Ok(()) } else { Err(format!("it ended ({ended:?}): {said}")) }
            }
        }
    }

    /// What all terminals have printed, those that were closed included.
    pub(super) fn printed(&self) -> String {
        let texts = self
            .terminals
            .iter()
            .map(|one| std::fs::read_to_string(&one.output).unwrap_or_default());
        texts.collect()
    }

    /// Ctrl-C in the newest terminal that runs this text.
    pub(super) async fn end(&mut self, text: &str) -> Result<(), String> {
        let running = self.terminals.iter_mut().rev();
        let terminal = running
            .filter(|terminal| terminal.text.contains(text))
            .find(|terminal| terminal.child.id().is_some())
            .ok_or_else(|| format!("no terminal runs {text:?}"))?;
        terminal.interrupt().await
    }

    /// Ends every terminal, the newest first.
    pub(super) async fn close(mut self) {
        for terminal in self.terminals.iter_mut().rev() {
            if terminal.child.id().is_some() {
                terminal.interrupt().await.unwrap();
            }
        }
    }
}

impl Terminal {
    /// Sends SIGINT to the shell and what it runs, as a terminal does, and waits for their end.
    async fn interrupt(&mut self) -> Result<(), String> {
        let Some(group) = self.child.id() else {
            return Ok(());
        };
        let kill = Command::new("kill")
            .args(["-INT", "--", &format!("-{group}")])
            .status();
        kill.await.map_err(|error| error.to_string())?;
        match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("it does not end at Ctrl-C: {}", self.text)),
        }
    }
}
