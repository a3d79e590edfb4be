//! Whether the reader's position belongs to this cluster.

use super::examined::{Checked, Examined};
use super::finding::Finding;
use crate::capture::position::{self, LoadError};

const CHECK: &str = "identity";

pub(super) async fn check(examined: &Examined<'_>) -> Checked {
    let (current, xmax) = position::current_identity(examined.client).await?;
    let stored = match position::load(examined.client).await {
        Ok(stored) => stored,
        Err(LoadError::Query(error)) => return Err(error),
        Err(error @ (LoadError::Snapshot(_) | LoadError::Window)) => {
            return Ok(vec![Finding::error(
                CHECK,
                "the reader's position cannot be read",
                error.to_string(),
                "somebody changed openregister_webhooks.position_0 or position_1: delete the row that was changed; the reader then repeats \
                 what lies between",
            )]);
        }
    };
    let Some((position, identity)) = stored else {
        return Ok(vec![Finding::note(
            CHECK,
            "nothing has been read here: the sidecar has not run yet",
        )]);
    };
    if !position.is_foreign(identity, current, xmax) {
        return Ok(vec![Finding::ok(
            CHECK,
            "the reader's position belongs to this cluster",
        )]);
    }
    let cause = if identity == current {
        format!(
            "this cluster was set back: the position names transaction {}, but the next one here is {xmax}",
            position.snapshot.xmax()
        )
    } else {
        format!(
            "the database was restored or copied: its position belongs to {identity}, and this is {current}"
        )
    };
    Ok(vec![Finding::error(
        CHECK,
        "changes are captured, but nothing is delivered",
        cause,
        "if this database continues where the other one stopped: openregister-webhooks adopt --deliver; if it is a copy that must not send \
         what the other one sends: openregister-webhooks adopt --discard",
    )])
}
