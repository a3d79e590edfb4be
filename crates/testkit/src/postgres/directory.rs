//! The directory of the server, and the user that it runs as.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::error::{PostgresError, io_error};

/// The longest path of the parent directory, in bytes: a socket's path may have 107, and this leaves room for the names below.
const LONGEST_PARENT: usize = 60;

/// The user that the server runs as if this process is root.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunAs {
    uid: u32,
    gid: u32,
}

/// A command that runs as the server's user, in a process group of its own, so that Ctrl-C does not reach it.
pub(super) fn command_as(program: impl AsRef<OsStr>, dir: &Path, run_as: Option<RunAs>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).process_group(0).stdin(Stdio::null());
    command
        .env("LC_ALL", "C")
        .env_remove("PGDATA")
        .env_remove("PGPORT");
    if let Some(RunAs { uid, gid }) = run_as {
        command.gid(gid).uid(uid);
    }
    command
}

/// Makes the directory; its owner is the server's user.
pub(super) fn make_directory() -> Result<(PathBuf, Option<RunAs>), PostgresError> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let system = PathBuf::from("/tmp");
    let wanted = std::env::temp_dir();
    let mut parent = if wanted.as_os_str().len() <= LONGEST_PARENT {
        wanted
    } else {
        system.clone()
    };
    let name = format!(
        "orw-pg-{}-{}-{:06x}",
        std::process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed),
        uuid::Uuid::now_v7().as_u128() & 0xff_ffff
    );
    let make = |parent: &Path| {
        let dir = parent.join(&name);
        fs::DirBuilder::new().mode(0o700).create(&dir).map(|()| dir)
    };
    let mut dir = make(&parent).map_err(|e| io_error(&parent, e))?;
    let owner = fs::metadata(&dir).map_err(|e| io_error(&dir, e))?.uid();
    let run_as = if owner == 0 {
        Some(unprivileged_user(&dir)?)
    } else {
        None
    };
    if run_as.is_some() && parent != system {
        // Another user may not be able to enter root's own temporary directory.
        fs::remove_dir(&dir).map_err(|e| io_error(&dir, e))?;
        parent = system;
        dir = make(&parent).map_err(|e| io_error(&parent, e))?;
    }
    let own = |path: &Path| match run_as {
        Some(RunAs { uid, gid }) => std::os::unix::fs::chown(path, Some(uid), Some(gid)),
        None => Ok(()),
    };
    let socket = dir.join("s");
    fs::create_dir(&socket)
        .and_then(|()| own(&socket))
        .and_then(|()| own(&dir))
        .map_err(|e| io_error(&dir, e))?;
    Ok((dir, run_as))
}

/// `postgres` if there is such a user, otherwise `nobody`.
fn unprivileged_user(dir: &Path) -> Result<RunAs, PostgresError> {
    let ask = |flag: &str, user: &str| -> Option<u32> {
        let out = Command::new("id").args([flag, user]).output().ok()?;
        std::str::from_utf8(&out.stdout).ok()?.trim().parse().ok()
    };
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|user| {
            Some(RunAs {
                uid: ask("-u", user)?,
                gid: ask("-g", user)?,
            })
        })
        .ok_or_else(|| {
            let text = "PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody";
            io_error(dir, io::Error::other(text))
        })
}
