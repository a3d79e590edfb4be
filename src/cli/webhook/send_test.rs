//! `webhook test`.

use std::process::ExitCode;
use std::sync::Arc;

use orw_egress::Client;
use serde_json::json;

use crate::catalogue;
use crate::cli::failure::Failure;
use crate::cli::{output, response};
use crate::config::Settings;
use crate::delivery::trial;
use crate::lifecycle::EventType;
use crate::registry::Webhook;
use crate::traces::Traces;

/// Sends a test event; the exit code is 0 if the receiver answered 2xx, else 1.
pub(super) async fn run(
    settings: &Settings,
    webhook: &Arc<Webhook>,
    class: Option<EventType>,
    json: bool,
) -> Result<ExitCode, Failure> {
    let class = class
        .or_else(|| webhook.event.classes().first().copied().map(EventType::Class))
        .ok_or_else(|| Failure::Failed(format!("webhook {} is not registered for any event", webhook.id)))?;
    let event = catalogue::test_event(class).map_err(|error| Failure::Failed(error.to_string()))?;
    let event = Arc::new(event);
    let tls = orw_egress::client_config(settings.ca_file.as_deref())?;
    let client = Client::new(settings.outgoing(tls));
    let done = trial::send(&client, webhook, &event, &Traces::default()).await;
    if json {
        output::json(&json!(done));
    } else {
        let result = match (done.status, done.cause) {
            (Some(status), _) => format!("status {status}"),
            (None, Some(cause)) => cause.to_owned(),
            (None, None) => String::new(),
        };
        let word = if done.succeeded { "arrived" } else { "failed" };
        output::say(format_args!("{word}: {result} after {} ms", done.duration_ms));
        output::say(format_args!("  {}  {}", done.class, done.event_id));
        for text in response::lines(
            done.error.as_deref(),
            done.headers.as_ref(),
            done.response.as_deref(),
        ) {
            output::say(format_args!("  {text}"));
        }
    }
    Ok(if done.succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
