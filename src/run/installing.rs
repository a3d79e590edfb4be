//! Installs or upgrades before anything else starts, if `ORW_INSTALL_AT_START` asks for it: for places where one container is all
//! that there is, so that nothing can run `install` before it.

use super::error::RunError;
use crate::capture::{self, InstallOptions};
use crate::config::Settings;
use crate::database::Database;

/// Does what `install` does, as the role of `ORW_DATABASE_URL`.
pub(super) async fn install(settings: &Settings, database: &Database) -> Result<(), RunError> {
    let (mut client, _) = database.connect().await?;
    let options = InstallOptions {
        table_prefix: settings.table_prefix.clone(),
        runtime_role: None,
        capture_all: settings.capture_all,
    };
    let installed = capture::install(&mut client, &options, |_, _| {}).await?;
    tracing::info!(
        migrations = installed.migrations.len(),
        captured = installed.captured.len(),
        "installed, as ORW_INSTALL_AT_START asks for"
    );
    if !installed.busy.is_empty() {
        tracing::warn!(tables = ?installed.busy, "these tables stayed busy and are not captured yet; capture tries again by itself");
    }
    Ok(())
}
