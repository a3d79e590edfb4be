//! The routes of the API, and a registration to try them with.

use serde_json::{Value, json};

pub(super) const LISTENERS: &str = "/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks";
pub(super) const OWN: &str = "/ocs/v2.php/apps/openregister_webhooks/api/v1";

pub(super) fn registration() -> Value {
    json!({"httpMethod": "POST", "uri": "https://example.com/webhook",
        "event": r"OCA\OpenRegister\Event\ObjectCreatedEvent"})
}
