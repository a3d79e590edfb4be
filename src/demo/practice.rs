//! A database to practise with: OpenRegister's tables in a private PostgreSQL, and nothing else.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::error::DemoError;
use orw_testkit::Generation;
use orw_testkit::nextcloud::{self, OWNER};
use orw_testkit::postgres::{self, PrivatePostgres, Programs};

/// Starts the database, writes its connection string to `file`, and keeps both until Ctrl-C or SIGTERM.
///
/// # Errors
/// If `file` exists, or something that is needed does not work.
pub async fn practice(out: &mut (impl Write + Send), file: &Path) -> Result<(), DemoError> {
    let io = |source| DemoError::Io {
        what: file.display().to_string(),
        source,
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let programs = Programs::find()?;
    let version = programs.version()?;
    // What somebody else wrote there is not overwritten.
    let mut written = fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .map_err(io)?;
    let remove = Removed(file);
    let postgres =
        tokio::task::spawn_blocking(|| PrivatePostgres::start(programs, postgres::Options::default()));
    let postgres = Arc::new(postgres.await??);
    nextcloud::create_owner(&postgres).await?;
    let generation = Generation::V0_2_13;
    let database = generation.database();
    nextcloud::create_database(&postgres, database, Some(generation)).await?;
    writeln!(written, "{}", postgres.url(OWNER, database)).map_err(io)?;
    writeln!(
        out,
        "PostgreSQL {version} runs, with the tables of OpenRegister {generation}.\n\
         Its connection string is in the file {}.\n\
         It stays until you press Ctrl-C, and is removed then.",
        file.display()
    )?;
    out.flush()?;
    tokio::select! {
        stopped = tokio::signal::ctrl_c() => stopped?,
        // The first process of a container gets no signal that it does not ask for.
        _ = terminate.recv() => {}
    }
    drop(remove);
    // This waits for the server.
    tokio::task::spawn_blocking(move || drop(postgres)).await?;
    Ok(())
}

/// A file that is removed when this ends.
struct Removed<'a>(&'a Path);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        // It may be gone already.
        let _: io::Result<()> = fs::remove_file(self.0);
    }
}
