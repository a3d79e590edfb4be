//! The sidecar as a whole: makes its parts, starts them under a supervisor, and ends them.
//!
//! One file wires each subsystem: `capturing`, `delivering`, `listening` and `housekeeping`. What several of them need is made
//! first, in `shared`. This and the commands are the only places that know every part.

mod capturing;
mod delivering;
mod error;
mod handshakes;
mod housekeeping;
mod installing;
mod listening;
mod shared;

use tokio_util::sync::CancellationToken;

use self::shared::Shared;
use crate::config::Settings;
use crate::supervise::{Policy, Supervisor, ending};

pub use error::RunError;

/// Runs until `shutdown` is cancelled, then ends: it takes no new work, and finishes or hands back what is in flight.
///
/// # Errors
/// If something that it needs at the start is missing. Once it runs, it waits for what goes away, and ends by itself only if one of
/// its parts keeps failing.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), RunError> {
    let shared = Shared::new(settings).await?;
    let mut supervisor = Supervisor::new(shared.board.clone(), Policy::default(), shutdown);
    listening::start(&shared, &mut supervisor).await?;
    capturing::start(&shared, &mut supervisor);
    delivering::start(&shared, &mut supervisor)?;
    handshakes::start(&shared, &mut supervisor);
    housekeeping::start(&shared, &mut supervisor);
    tracing::info!(listen = %shared.settings.listen, version = env!("CARGO_PKG_VERSION"), "openregister-webhooks runs");
    Ok(supervisor.run(ending::WHOLE).await?)
}
