//! A shell process that cleans up after this process.
//!
//! Guarantees: however this process ends, even by SIGKILL, the standard input of the guardian ends, because no other process
//! holds the pipe; then the rest of its script runs. Ctrl-C does not reach it, because it has a process group of its own.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// A running guardian. When it is dropped, it cleans up, and the drop waits for that.
#[derive(Debug)]
pub struct Guardian {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Guardian {
    /// Starts `command`, a shell whose script reads its standard input to the end and then cleans up.
    ///
    /// # Errors
    /// If the shell cannot be started.
    pub fn spawn(mut command: Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    /// A guardian that removes a directory.
    ///
    /// # Errors
    /// If the shell cannot be started.
    pub fn of_directory(dir: &Path) -> io::Result<Self> {
        let mut command = shell("read -r _; cd / && rm -rf \"$1\"");
        command.arg(dir);
        Self::spawn(command)
    }

    /// A guardian that kills a process, unless it is [`Self::dismiss`]ed before.
    ///
    /// # Errors
    /// If the shell cannot be started.
    pub fn of_process(pid: u32) -> io::Result<Self> {
        let mut command = shell("read -r word; [ \"$word\" = done ] || kill -KILL \"$1\"");
        command.arg(pid.to_string());
        Self::spawn(command)
    }

    /// Ends the guardian; it has nothing left to clean up.
    pub fn dismiss(mut self) {
        if let Some(pipe) = &mut self.pipe {
            let _ = pipe.write_all(b"done\n");
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.child.wait();
    }
}

/// A shell that no signal of the terminal ends.
fn shell(script: &str) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("trap '' INT TERM HUP; {script}"), "orw-guardian"])
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}
