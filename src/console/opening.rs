//! The beginning of a connection, before anybody has logged in: TLS, a request to cancel, or the start of a session.
//!
//! Guarantees: nothing that a client sent in clear counts as sent within TLS, since exactly the bytes of the request for TLS are taken from
//! the socket before the handshake; at most two requests for encryption are answered; the start of a session has at most 10,000 bytes.

use bytes::{BufMut as _, BytesMut};
use pgwire::messages::startup::Startup;
use pgwire::messages::{DecodeContext, Message as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::error::{ConsoleError, code};
use crate::listener_tls::{Current, ListenerTls};

/// The name of the protocol in a TLS handshake (ALPN), as PostgreSQL 17 defines it.
pub const ALPN: &[&[u8]] = &[b"postgresql"];
/// The first byte of a TLS handshake; no length of a first message begins with it.
const TLS_HANDSHAKE: u8 = 0x16;
/// The codes of first messages ("Message Formats" in PostgreSQL's manual).
const SSL_REQUEST: u32 = 80_877_103;
const GSS_ENC_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;
/// The longest start of a session, as in PostgreSQL.
const LONGEST_START: usize = 10_000;
/// Length and code.
const HEAD: usize = 8;
/// The length of a request to cancel in protocol 3.0.
const CANCEL: usize = 16;
/// Requests for encryption that are answered: one for TLS, one for GSSAPI.
const MOST_REQUESTS: usize = 2;

/// What a connection is, over which bytes come and go.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Io for S {}

/// What a client wants.
pub(super) enum Opening {
    Session {
        io: Box<dyn Io>,
        startup: Startup,
        /// The certificate that was presented, if this is TLS.
        tls: Option<Box<Current>>,
    },
    /// To cancel what another session does.
    Cancel { pid: i32, key: [u8; 4] },
    /// It was refused, and the reason is to be sent.
    Refused { io: Box<dyn Io>, error: ConsoleError },
}

/// Why there is nothing to answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpeningError {
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("TLS was asked for without a request, and there is no certificate")]
    NoCertificate,
    #[error("TLS was begun without the protocol's name (ALPN)")]
    NoAlpn,
    #[error("too many requests for encryption")]
    TooManyRequests,
    #[error("a message of {0} bytes before the login")]
    Length(usize),
}

/// Reads the first messages. Who waits for it limits the time.
pub(super) async fn open(mut stream: TcpStream, tls: Option<&ListenerTls>) -> Result<Opening, OpeningError> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] == TLS_HANDSHAKE {
        let current = tls.ok_or(OpeningError::NoCertificate)?.current();
        let stream = TlsAcceptor::from(current.config.clone()).accept(stream).await?;
        // Without the name, a browser could be led to send a request of its own here.
        if stream.get_ref().1.alpn_protocol().is_none() {
            return Err(OpeningError::NoAlpn);
        }
        return within(Box::new(stream), Some(Box::new((*current).clone()))).await;
    }
    for _ in 0..MOST_REQUESTS {
        let head = head(&mut stream).await?;
        match (head.code, tls) {
            (SSL_REQUEST, Some(tls)) if head.length == HEAD => {
                let current = tls.current();
                stream.write_all(b"S").await?;
                let stream = TlsAcceptor::from(current.config.clone()).accept(stream).await?;
                return within(Box::new(stream), Some(Box::new((*current).clone()))).await;
            }
            (SSL_REQUEST | GSS_ENC_REQUEST, _) if head.length == HEAD => stream.write_all(b"N").await?,
            _ => return rest(Box::new(stream), head, None).await,
        }
    }
    let head = head(&mut stream).await?;
    if matches!(head.code, SSL_REQUEST | GSS_ENC_REQUEST) {
        return Err(OpeningError::TooManyRequests);
    }
    rest(Box::new(stream), head, None).await
}

/// The first message within TLS.
async fn within(mut io: Box<dyn Io>, tls: Option<Box<Current>>) -> Result<Opening, OpeningError> {
    let head = head(&mut io).await?;
    rest(io, head, tls).await
}

struct Head {
    length: usize,
    code: u32,
}

async fn head(io: &mut (impl AsyncRead + Unpin)) -> Result<Head, OpeningError> {
    let length = usize::try_from(io.read_u32().await?).unwrap_or(usize::MAX);
    if !(HEAD..=LONGEST_START).contains(&length) {
        return Err(OpeningError::Length(length));
    }
    Ok(Head {
        length,
        code: io.read_u32().await?,
    })
}

/// The rest of the first message.
async fn rest(mut io: Box<dyn Io>, head: Head, tls: Option<Box<Current>>) -> Result<Opening, OpeningError> {
    let mut body = vec![0; head.length - HEAD];
    io.read_exact(&mut body).await?;
    if head.code == CANCEL_REQUEST {
        let (Some(pid), Some(key), CANCEL) = (body.first_chunk::<4>(), body.last_chunk::<4>(), head.length)
        else {
            return Err(OpeningError::Length(head.length));
        };
        return Ok(Opening::Cancel {
            pid: i32::from_be_bytes(*pid),
            key: *key,
        });
    }
    Ok(match startup(head.code, &body) {
        Ok(startup) => Opening::Session { io, startup, tls },
        Err(error) => Opening::Refused { io, error },
    })
}

/// The start of a session, without its length.
pub(super) fn startup(version: u32, body: &[u8]) -> Result<Startup, ConsoleError> {
    let (major, minor) = (version >> 16, version & 0xffff);
    if major != 3 {
        return Err(ConsoleError::fatal(
            code::FEATURE_NOT_SUPPORTED,
            format!("unsupported frontend protocol {major}.{minor}: this console speaks 3.0"),
        ));
    }
    let wrong = || {
        ConsoleError::fatal(
            code::PROTOCOL_VIOLATION,
            "the start of the session cannot be read",
        )
    };
    // Names and values, each with a zero byte at its end, and one more after the last.
    if !(body == b"\0" || body.ends_with(b"\0\0")) || body.len() > LONGEST_START - HEAD {
        return Err(wrong());
    }
    let length = body.len() + HEAD;
    let mut whole = BytesMut::with_capacity(length);
    whole.put_u32(u32::try_from(length).map_err(|_| wrong())?);
    whole.put_u32(version);
    whole.put_slice(body);
    match Startup::decode(&mut whole, &DecodeContext::default()) {
        Ok(Some(startup)) if whole.is_empty() => Ok(startup),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_session_is_read_strictly() {
        let read = startup(196_608, b"user\0ann\0database\0console\0\0").unwrap();
        assert_eq!(read.parameters["user"], "ann");
        for (version, body) in [
            (196_608, &b""[..]),
            (196_608, b"user\0ann"),
            (196_608, b"user\0ann\0\0trailing"),
            (131_072, b"user\0ann\0\0"),
        ] {
            let refused = startup(version, body).unwrap_err();
            assert!(refused.is_fatal(), "{body:?}");
        }
    }
}
