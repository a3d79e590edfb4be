//! A shell that outlives us just long enough to clean up.
//!
//! Guarantees: however this process ends, also by SIGKILL, the guardian's standard input ends with it, because nobody else
//! holds the pipe; then the rest of its script runs. Ctrl-C does not reach it: it has a process group of its own.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// A running guardian. Dropping it lets it clean up, and waits until it has.
#[derive(Debug)]
pub struct Guardian {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Guardian {
    /// Starts `command`: a shell with a script that reads its standard input to the end and then cleans up.
    pub fn spawn(mut command: Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    /// Removes a directory.
    pub fn of_directory(dir: &Path) -> io::Result<Self> {
        let mut command = shell("read -r _; cd / && rm -rf \"$1\"");
        command.arg(dir);
        Self::spawn(command)
    }

    /// Kills a process of ours, unless [`Self::dismiss`]ed before.
    pub fn of_process(pid: u32) -> io::Result<Self> {
        let mut command = shell("read -r word; [ \"$word\" = done ] || kill -KILL \"$1\"");
        command.arg(pid.to_string());
        Self::spawn(command)
    }

    /// There is nothing to clean up any more.
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
