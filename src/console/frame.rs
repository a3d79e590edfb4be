//! Messages of clients: each is read whole, within a limit, and its form is checked before pgwire decodes it.
//!
//! Guarantees: of a message that is longer than the limit nothing is kept; bytes that are no message give an error and never a panic
//! (pgwire's own decoder takes lengths and counts on trust).

use bytes::{Buf as _, BytesMut};
use pgwire::messages::{DecodeContext, PgWireFrontendMessage};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest message of a client that has logged in, with its type and length. No command needs more.
pub(super) const LONGEST: usize = 64 * 1024;
/// The longest message of a login.
pub(super) const LONGEST_AT_LOGIN: usize = 4 * 1024;
/// How much room for bytes is made at a time.
const ROOM: usize = 2 * 1024;
/// The type of a message, and its length, which counts itself.
const HEAD: usize = 5;

/// Why no message was read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("the connection was closed")]
    Closed,
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("a message of {0} bytes is longer than {1}, the most that is read")]
    TooLong(usize, usize),
    #[error("this is no message of the protocol: {0}")]
    Malformed(&'static str),
}

/// The bytes that were received and not used yet.
#[derive(Debug, Default)]
pub(super) struct Frames {
    received: BytesMut,
}

impl Frames {
    /// The next message of at most `longest` bytes. Safe to cancel.
    pub(super) async fn next(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        longest: usize,
    ) -> Result<PgWireFrontendMessage, FrameError> {
        loop {
            if let Some(frame) = split(&mut self.received, longest)? {
                return decode(frame);
            }
            self.received.reserve(ROOM);
            if io.read_buf(&mut self.received).await? == 0 {
                return Err(FrameError::Closed);
            }
        }
    }

    /// Whether bytes were received that are not used yet.
    pub(super) fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// Gives memory back that a long message took.
    pub(super) fn shrink(&mut self) {
        if self.received.is_empty() && self.received.capacity() > 2 * ROOM {
            self.received = BytesMut::new();
        }
    }
}

/// Takes the first message off the received bytes; `None` if it is not complete yet.
pub(super) fn split(received: &mut BytesMut, longest: usize) -> Result<Option<BytesMut>, FrameError> {
    let Some(head) = received.first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let length = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(1);
    if length < HEAD {
        return Err(FrameError::Malformed("its length is too small"));
    }
    if length > longest {
        return Err(FrameError::TooLong(length, longest));
    }
    Ok((received.len() >= length).then(|| received.split_to(length)))
}

/// Decodes one whole message.
pub(super) fn decode(mut frame: BytesMut) -> Result<PgWireFrontendMessage, FrameError> {
    check(frame[0], &frame[HEAD..]).ok_or(FrameError::Malformed("its parts do not fit its length"))?;
    let mut context = DecodeContext::default();
    context.awaiting_frontend_ssl = false;
    context.awaiting_frontend_startup = false;
    let message = PgWireFrontendMessage::decode(&mut frame, &context);
    match message {
        Ok(Some(message)) if frame.is_empty() => Ok(message),
        _ => Err(FrameError::Malformed("it cannot be decoded")),
    }
}

/// Whether the parts of a message take exactly its body. The form of each is in PostgreSQL's manual, "Message Formats".
fn check(kind: u8, mut body: &[u8]) -> Option<()> {
    let body = &mut body;
    match kind {
        // Its form depends on what was asked for; the login checks it.
        b'p' => return Some(()),
        b'Q' => text(body)?,
        b'P' => {
            text(body)?;
            text(body)?;
            let count = number(body)?;
            skip(body, count.checked_mul(4)?)?;
        }
        b'B' => {
            text(body)?;
            text(body)?;
            let formats = number(body)?;
            skip(body, formats.checked_mul(2)?)?;
            for _ in 0..number(body)? {
                value(body)?;
            }
            let formats = number(body)?;
            skip(body, formats.checked_mul(2)?)?;
        }
        b'D' | b'C' => {
            let of = body.first()?;
            if !matches!(of, b'S' | b'P') {
                return None;
            }
            skip(body, 1)?;
            text(body)?;
        }
        b'E' => {
            text(body)?;
            skip(body, 4)?;
        }
        b'H' | b'S' | b'X' => {}
        _ => return None,
    }
    body.is_empty().then_some(())
}

/// The first answer of a client to the request to log in: the name of a mechanism, and its first message.
pub(super) fn is_sasl_initial(mut body: &[u8]) -> bool {
    let body = &mut body;
    text(body).and_then(|()| value(body)).is_some() && body.is_empty()
}

/// A text that ends with a zero byte.
fn text(body: &mut &[u8]) -> Option<()> {
    let end = body.iter().position(|byte| *byte == 0)?;
    skip(body, end + 1)
}

/// A number of parts.
fn number(body: &mut &[u8]) -> Option<usize> {
    let bytes = *body.first_chunk::<2>()?;
    body.advance(2);
    Some(u16::from_be_bytes(bytes).into())
}

/// A value with its length; a length of -1 stands for NULL.
fn value(body: &mut &[u8]) -> Option<()> {
    let bytes = *body.first_chunk::<4>()?;
    body.advance(4);
    match i32::from_be_bytes(bytes) {
        -1 => Some(()),
        length => skip(body, usize::try_from(length).ok()?),
    }
}

fn skip(body: &mut &[u8], count: usize) -> Option<()> {
    *body = body.get(count..)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> BytesMut {
        let length = u32::try_from(body.len() + 4).unwrap();
        BytesMut::from([&[kind][..], &length.to_be_bytes(), body].concat().as_slice())
    }

    #[tokio::test]
    async fn messages_come_in_pieces_and_several_at_once() {
        let bytes = [
            message(b'Q', b"SHOW LAG\0"),
            message(b'S', b""),
            message(b'X', b""),
        ]
        .concat();
        for size in [1, 3, 7, bytes.len()] {
            let mut io = pieces(&bytes, size);
            let mut frames = Frames::default();
            let mut next = async || frames.next(&mut io, LONGEST).await;
            assert!(
                matches!(next().await, Ok(PgWireFrontendMessage::Query(query)) if query.query == "SHOW LAG")
            );
            assert!(matches!(next().await, Ok(PgWireFrontendMessage::Sync(_))));
            assert!(matches!(next().await, Ok(PgWireFrontendMessage::Terminate(_))));
            assert!(matches!(next().await, Err(FrameError::Closed)));
        }
    }

    /// A reader that gives at most `size` bytes at a time.
    fn pieces(bytes: &[u8], size: usize) -> impl AsyncRead + Unpin {
        bytes.chunks(size).fold(
            Box::new(tokio::io::empty()) as Box<dyn AsyncRead + Unpin>,
            |before, piece| Box::new(before.chain(std::io::Cursor::new(piece.to_vec()))),
        )
    }

    #[test]
    fn what_would_make_the_decoder_panic_is_refused() {
        for (kind, body) in [
            (b'P', &b"\0\0\0"[..]),
            (b'P', b"\0\0\xff\xff"),
            (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0"),
            (b'B', b"\0\0\0\x01"),
            (b'D', b""),
            (b'D', b"Xname\0"),
            (b'E', b"\0\0\0"),
            (b'Q', b"no end"),
            (b'S', b"more"),
            (b'F', b""),
            (0, b""),
        ] {
            let refused = decode(message(kind, body));
            assert!(
                matches!(refused, Err(FrameError::Malformed(_))),
                "{kind}: {refused:?}"
            );
        }
        let mut short = BytesMut::from(&b"Q\0\0\0\x03rest"[..]);
        assert!(matches!(
            split(&mut short, LONGEST),
            Err(FrameError::Malformed(_))
        ));
        let mut long = BytesMut::from(&b"Q\x3f\xff\xff\xff"[..]);
        assert!(matches!(
            split(&mut long, LONGEST),
            Err(FrameError::TooLong(_, LONGEST))
        ));
        assert!(
            is_sasl_initial(b"SCRAM-SHA-256\0\0\0\0\x01n") && !is_sasl_initial(b"SCRAM-SHA-256\0\0\0\0\x02n")
        );
    }
}
