//! In front of Nextcloud: what passes through, who may manage webhooks, and which answers combine both sides.

mod bodies;
mod callers;
mod crowd;
mod disturbances;
mod merged;
mod passing;
mod raw;
mod smuggling;
mod soak;
mod token_needed;

pub(crate) use raw::{exchange, exchange_bytes};

pub(crate) const LISTENERS: &str = "/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks";
pub(crate) const OWN: &str = "/ocs/v2.php/apps/openregister_webhooks/api/v1";
pub(crate) const OURS: &str = r"OCA\OpenRegister\Event\ObjectCreatedEvent";
pub(crate) const THEIRS: &str = r"OCP\Files\Events\Node\NodeCreatedEvent";
