//! A connection after its beginning: messages in, messages out.
//!
//! Guarantees: what waits to be sent is bounded, and a client that does not read is given up: each piece has a limited time.

use std::time::Duration;

use bytes::BytesMut;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use tokio::io::AsyncWriteExt as _;

use super::error::{ConsoleError, code};
use super::frame::{FrameError, Frames};
use super::opening::Io;

/// Bytes that wait before they are sent.
const PIECE: usize = 32 * 1024;
/// How long a client may take to accept a piece.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection.
pub(super) struct Wire {
    io: Box<dyn Io>,
    frames: Frames,
    out: BytesMut,
}

/// The connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("the client does not read what it asked for")]
    Stalled,
    #[error("a message could not be written: {0}")]
    Encode(#[from] pgwire::error::PgWireError),
}

impl WireError {
    /// What the client is told before the connection is closed, if there is anything to tell.
    pub(super) fn as_told(&self) -> Option<ConsoleError> {
        match self {
            Self::Frame(error @ (FrameError::TooLong(..) | FrameError::Malformed(_))) => {
                Some(ConsoleError::fatal(code::PROTOCOL_VIOLATION, error.to_string()))
            }
            Self::Encode(_) => Some(ConsoleError::fatal(code::INTERNAL, "an internal error occurred")),
            Self::Frame(_) | Self::Io(_) | Self::Stalled => None,
        }
    }
}

impl Wire {
    pub(super) fn new(io: Box<dyn Io>) -> Self {
        Self {
            io,
            frames: Frames::default(),
            out: BytesMut::new(),
        }
    }

    /// The next message of at most `longest` bytes. Safe to cancel.
    pub(super) async fn receive(&mut self, longest: usize) -> Result<PgWireFrontendMessage, WireError> {
        Ok(self.frames.next(&mut self.io, longest).await?)
    }

    /// Whether the client has begun a message.
    pub(super) fn is_quiet(&self) -> bool {
        self.frames.is_empty()
    }

    /// Adds a message to what is sent; sends if much waits.
    pub(super) async fn feed(&mut self, message: PgWireBackendMessage) -> Result<(), WireError> {
        message.encode(&mut self.out)?;
        if self.out.len() >= PIECE {
            self.flush().await?;
        }
        Ok(())
    }

    /// Sends everything.
    pub(super) async fn flush(&mut self) -> Result<(), WireError> {
        while !self.out.is_empty() {
            let piece = self.out.split_to(self.out.len().min(PIECE));
            let sent = async {
                self.io.write_all(&piece).await?;
                self.io.flush().await
            };
            match tokio::time::timeout(PATIENCE, sent).await {
                Ok(sent) => sent?,
                Err(_) => return Err(WireError::Stalled),
            }
        }
        Ok(())
    }

    /// Gives memory back that is not needed while the session is idle.
    pub(super) fn shrink(&mut self) {
        self.frames.shrink();
        self.out = BytesMut::new();
    }

    /// Sends the last message, and closes.
    pub(super) async fn end(mut self, last: Option<ConsoleError>) {
        if let Some(error) = last
            && self
                .feed(PgWireBackendMessage::ErrorResponse(error.response()))
                .await
                .is_ok()
        {
            let _ = self.flush().await;
        }
        let _ = tokio::time::timeout(PATIENCE, self.io.shutdown()).await;
    }
}
