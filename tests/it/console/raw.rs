//! A client that sends any bytes, and reads what comes back message by message.

use std::sync::Arc;

use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::scene::Served;
use crate::support::receiver::client_config;
use crate::support::wait::PATIENCE;

pub(super) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
pub(super) const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection.
pub(super) struct Raw {
    pub(super) io: Box<dyn Stream>,
}

/// A message of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) body: Vec<u8>,
}

impl Message {
    /// A field of an error.
    pub(super) fn field(&self, name: u8) -> String {
        let mut fields = self.body.split(|byte| *byte == 0);
        let found = fields.find_map(|field| field.strip_prefix(&[name]));
        String::from_utf8(found.unwrap_or_default().to_vec()).unwrap()
    }
}

impl Raw {
    /// Connects from an address of its own, so that failed logins of other tests do not count.
    pub(super) async fn connect(console: &Served, last: u8) -> Self {
        Self {
            io: Box::new(tcp(console, last).await),
        }
    }

    /// Within TLS, asked for as libpq does.
    pub(super) async fn connect_tls(console: &Served, last: u8) -> Self {
        let mut stream = tcp(console, last).await;
        stream.write_all(&SSL_REQUEST).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'S');
        Self {
            io: Box::new(tls(console, stream, &[]).await.unwrap()),
        }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        // Who was refused may not be able to send everything.
        let _ = self.io.write_all(bytes).await;
        let _ = self.io.flush().await;
    }

    /// The next message; `None` if the connection was closed.
    pub(super) async fn next(&mut self) -> Option<Message> {
        let read = async {
            let kind = self.io.read_u8().await.ok()?;
            let length = self.io.read_u32().await.ok()?;
            let mut body = vec![0; usize::try_from(length).unwrap() - 4];
            self.io.read_exact(&mut body).await.ok()?;
            Some(Message { kind, body })
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap()
    }

    /// Every message until the server is ready, or closes.
    pub(super) async fn answer(&mut self) -> Vec<Message> {
        let mut all = Vec::new();
        while let Some(message) = self.next().await {
            let last = message.kind == b'Z';
            all.push(message);
            if last {
                break;
            }
        }
        all
    }

    /// The error that ends the connection: nothing follows it.
    pub(super) async fn refused(&mut self) -> Message {
        let mut last = None;
        while let Some(message) = self.next().await {
            assert_ne!(message.kind, b'Z', "the server is ready");
            last = Some(message);
        }
        let error = last.expect("the connection was closed without an error");
        assert_eq!(
            (error.kind, error.field(b'S')),
            (b'E', "FATAL".to_owned()),
            "{error:?}"
        );
        error
    }

    /// Waits until the server closes.
    pub(super) async fn closed(&mut self) {
        let mut rest = Vec::new();
        let read = self.io.read_to_end(&mut rest);
        let _ = tokio::time::timeout(PATIENCE, read).await.unwrap();
    }

    /// Starts a session: the mechanisms that are offered.
    pub(super) async fn start(&mut self, user: &str) -> Vec<String> {
        self.send(&startup(&[("user", user), ("database", "console")]))
            .await;
        let asked = self.next().await.unwrap();
        assert_eq!(
            (asked.kind, &asked.body[..4]),
            (b'R', &[0, 0, 0, 10][..]),
            "{asked:?}"
        );
        let names = asked.body[4..].split(|byte| *byte == 0);
        let names = names.map(|name| String::from_utf8(name.to_vec()).unwrap());
        names.filter(|name| !name.is_empty()).collect()
    }

    /// Logs in; what came after the proof of the password.
    pub(super) async fn log_in(&mut self, user: &str, password: &str) -> Vec<Message> {
        self.start(user).await;
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        self.send(&written(|out| {
            frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), out)
        }))
        .await;
        let first = self.next().await.unwrap();
        assert_eq!(first.kind, b'R', "{first:?}");
        scram.update(&first.body[4..]).unwrap();
        self.send(&written(|out| frontend::sasl_response(scram.message(), out)))
            .await;
        self.answer().await
    }

    /// Logs in, which succeeds.
    pub(super) async fn logged_in(console: &Served, (user, password): (&str, &str), last: u8) -> Self {
        let mut raw = Self::connect(console, last).await;
        let answer = raw.log_in(user, password).await;
        assert_eq!(answer.last().unwrap().kind, b'Z', "{answer:?}");
        raw
    }
}

pub(super) async fn tcp(console: &Served, last: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, last], 0).into()).unwrap();
    socket.connect(console.address).await.unwrap()
}

/// TLS over a connection, with these protocols (ALPN).
pub(super) async fn tls(
    console: &Served,
    stream: TcpStream,
    protocols: &[&[u8]],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut config = client_config(&console.authority);
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    tokio::time::timeout(PATIENCE, connector.connect(name, stream)).await?
}

/// The start of a session.
pub(super) fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    written(|out| frontend::startup_message(parameters.iter().copied(), out))
}

/// A message of the client.
pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

pub(super) fn query(text: &str) -> Vec<u8> {
    message(b'Q', format!("{text}\0").as_bytes())
}

fn written(write: impl FnOnce(&mut bytes::BytesMut) -> std::io::Result<()>) -> Vec<u8> {
    let mut out = bytes::BytesMut::new();
    write(&mut out).unwrap();
    out.to_vec()
}
