//! HTTP/1.1 byte by byte.

use std::net::SocketAddr;

use crate::support::wait::PATIENCE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// From another address of this machine, as if it was another client.
    pub(crate) async fn connect_from(client: &str, address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(client.parse().unwrap(), 0)).unwrap();
        Self(socket.connect(address).await.unwrap())
    }

    /// Whether the other side has closed it.
    pub(crate) fn is_closed(&self) -> bool {
        match self.0.try_read(&mut [0; 1]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }

    /// Whether the other side has sent something.
    pub(crate) fn is_readable(&self) -> bool {
        use futures::FutureExt as _;
        let readable = self.0.ready(tokio::io::Interest::READABLE).now_or_never();
        readable.is_some_and(|ready| ready.is_ok_and(|ready| ready.is_readable()))
    }

    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.0.write_all(bytes.as_ref()).await
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Everything up to and including `end`.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        let reading = async {
            while !read.ends_with(end.as_bytes()) {
                read.push(self.0.read_u8().await.unwrap());
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap();
        String::from_utf8(read).unwrap()
    }

    /// Everything until the other side closes.
    pub(crate) async fn rest(&mut self) -> String {
        let mut read = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut read))
            .await
            .unwrap();
        String::from_utf8_lossy(&read).into_owned()
    }
}

/// One exchange on a connection of its own; the request must ask for the connection to be closed.
pub(crate) async fn exchange(address: SocketAddr, request: &str) -> String {
    exchange_bytes(address, request.as_bytes()).await
}

pub(crate) async fn exchange_bytes(address: SocketAddr, request: &[u8]) -> String {
    let mut raw = Raw::connect(address).await;
    raw.send(request).await;
    raw.rest().await
}

/// The status of an answer.
pub(crate) fn status(answer: &str) -> u16 {
    answer
        .get(9..12)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

/// A `GET` on a connection of its own.
pub(super) fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: cloud.example\r\nConnection: close\r\n{more}\r\n")
}
