//! Sending notifications.

use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::NotificationResponse;

use super::Session;
use super::notify::{Heard, next_now, payload};
use crate::console::wire::WireError;

/// The name of the only channel.
const CHANNEL: &str = "events";
/// Notifications that are sent together.
const BATCH: usize = 100;

impl Session {
    /// Tells the client of an attempt, and of those that are there already.
    pub(super) async fn tell(&mut self, heard: Heard) -> Result<(), WireError> {
        self.notify(&heard).await?;
        for _ in 1..BATCH {
            let Some(more) = next_now(&mut self.listening) else {
                break;
            };
            self.notify(&more).await?;
        }
        self.wire.flush().await
    }

    async fn notify(&mut self, heard: &Heard) -> Result<(), WireError> {
        let message = NotificationResponse::new(self.registered.pid, CHANNEL.to_owned(), payload(heard));
        self.wire
            .feed(PgWireBackendMessage::NotificationResponse(message))
            .await
    }
}
