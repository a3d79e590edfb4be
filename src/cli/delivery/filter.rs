//! The flags that say which deliveries.

use clap::Args;

use crate::cli::failure::Failure;
use crate::delivery::queue::{DeliveryFilter, Field};

#[derive(Debug, Args)]
pub(super) struct FilterArgs {
    /// Only those of the object with this uuid
    #[arg(long, value_name = "UUID")]
    object: Option<String>,
    /// Only those in this state, or in one of several, separated by commas
    #[arg(long)]
    state: Option<String>,
    /// Only those of this class, such as ObjectCreatedEvent; or openregister-webhooks.gap
    #[arg(long)]
    class: Option<String>,
    /// Only those of the event with this webhook-id
    #[arg(long, value_name = "ID")]
    webhook_id: Option<String>,
    /// Only those whose last attempt was answered with this HTTP status: 503, or 5xx for all from 500 to 599
    #[arg(long)]
    status: Option<String>,
    /// Only those whose last attempt failed for this cause, such as timeout, status or guard
    #[arg(long)]
    cause: Option<String>,
    /// Only those put into the queue since then: a time (2026-11-25T10:00:00Z) or an age (90m, 12h, 3d)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those put into the queue before then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl FilterArgs {
    /// The filter, with a webhook.
    ///
    /// # Errors
    /// The first flag that is not valid.
    pub(super) fn read(&self, webhook: Option<i64>) -> Result<DeliveryFilter, Failure> {
        let webhook = webhook.map(|id| id.to_string());
        let given = [
            (Field::Webhook, &webhook),
            (Field::Object, &self.object),
            (Field::State, &self.state),
            (Field::Class, &self.class),
            (Field::EventId, &self.webhook_id),
            (Field::Status, &self.status),
            (Field::Cause, &self.cause),
            (Field::Since, &self.since),
            (Field::Until, &self.until),
        ];
        let mut filter = DeliveryFilter::default();
        for (field, text) in given {
            if let Some(text) = text {
                filter.set(field, text).map_err(|error| {
                    let flag = match field {
                        Field::EventId => "webhook-id",
                        field => field.name(),
                    };
                    Failure::Usage(format!("--{flag}: {}", error.reason))
                })?;
            }
        }
        Ok(filter)
    }

    /// Whether none of these flags is given.
    pub(super) const fn is_empty(&self) -> bool {
        self.object.is_none()
            && self.state.is_none()
            && self.class.is_none()
            && self.webhook_id.is_none()
            && self.status.is_none()
            && self.cause.is_none()
            && self.since.is_none()
            && self.until.is_none()
    }
}
