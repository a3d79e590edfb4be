//! The tunnel: CONNECT, and the proxy's answer, which is read to its end and no further.

use std::io;

use secrecy::ExposeSecret as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use super::url::ProxyUrl;

/// How much of a proxy's answer is read.
const MAX_ANSWER: usize = 16 * 1024;

/// Why a proxy did not connect. As far as can be told, the receiver is not at fault.
#[derive(Debug, thiserror::Error)]
pub enum ProxyFault {
    #[error("its name cannot be resolved: {0}")]
    Dns(#[source] io::Error),
    #[error("its name has no address")]
    NoAddress,
    #[error("cannot connect to it: {0}")]
    Connect(#[source] io::Error),
    #[error("TLS with it: {0}")]
    Tls(String),
    #[error("it did not answer in time ({0})")]
    Timeout(&'static str),
    #[error("it demands other credentials (status 407); put user and password into the proxy's URL")]
    Credentials,
    #[error("it refuses to connect to {target} (status {status})")]
    Forbidden { target: String, status: u16 },
    #[error("it cannot connect to {target} (status {status})")]
    Unreachable { target: String, status: u16 },
    #[error("its answer to CONNECT is no HTTP")]
    Nonsense,
    #[error("it closed the connection: {0}")]
    Closed(#[source] io::Error),
}

impl ProxyFault {
    /// Whether the proxy might reach another address of the same target.
    pub(crate) fn is_of_the_address(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
            || matches!(self, Self::Timeout(step) if *step == CONNECT_STEP)
    }
}

/// The step in which the proxy connects to the target.
pub(crate) const CONNECT_STEP: &str = "CONNECT";

/// Asks the proxy at the other end of `io` for a tunnel to `target` (`host:port`).
pub(crate) async fn tunnel<S>(io: &mut S, proxy: &ProxyUrl, target: &str) -> Result<(), ProxyFault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"));
    if let Some(authorization) = &proxy.authorization {
        request.push_str("Proxy-Authorization: ");
        request.push_str(authorization.expose_secret());
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    io.write_all(request.as_bytes())
        .await
        .map_err(ProxyFault::Closed)?;
    io.flush().await.map_err(ProxyFault::Closed)?;
    let mut head = Vec::with_capacity(256);
    // Up to the empty line and no further: the bytes after it come from the receiver.
    while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"\n\n") {
        if head.len() >= MAX_ANSWER {
            return Err(ProxyFault::Nonsense);
        }
        head.push(io.read_u8().await.map_err(ProxyFault::Closed)?);
    }
    let target = || target.to_owned();
    match status(&head).ok_or(ProxyFault::Nonsense)? {
        200..=299 => Ok(()),
        407 => Err(ProxyFault::Credentials),
        status @ (502..=504) => Err(ProxyFault::Unreachable {
            target: target(),
            status,
        }),
        status => Err(ProxyFault::Forbidden {
            target: target(),
            status,
        }),
    }
}

/// The status of a response head.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|b| *b == b'\n').next()?;
    let text = std::str::from_utf8(line).ok()?;
    let rest = text
        .strip_prefix("HTTP/1.1 ")
        .or(text.strip_prefix("HTTP/1.0 "))?;
    let digits = rest.get(..3)?;
    let ends = rest[3..].chars().next().is_none_or(|c| c == ' ' || c == '\r');
    (ends && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_to_connect_are_read_to_their_end_and_no_further() {
        let ask = async |answer: &'static [u8]| {
            let (mut ours, mut theirs) = tokio::io::duplex(64 * 1024);
            theirs.write_all(answer).await.unwrap();
            let proxy = ProxyUrl::parse("http://u:secret@proxy:1").unwrap();
            let result = tunnel(&mut ours, &proxy, "192.0.2.1:443").await;
            let mut asked = vec![0; 4096];
            let n = theirs.read(&mut asked).await.unwrap();
            drop(theirs);
            let mut rest = Vec::new();
            ours.read_to_end(&mut rest).await.unwrap();
            (result, String::from_utf8(asked[..n].to_vec()).unwrap(), rest)
        };
        let (good, asked, rest) = ask(b"HTTP/1.1 200 Connection established\r\nx: y\r\n\r\nrest").await;
        assert!(good.is_ok());
        assert_eq!(
            asked,
            "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\nProxy-Authorization: Basic dTpzZWNyZXQ=\r\n\r\n"
        );
        assert_eq!(rest, b"rest");
        for (answer, wanted) in [
            (
                &b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..],
                "credentials",
            ),
            (b"HTTP/1.1 403\r\n\r\n", "refuses"),
            (b"HTTP/1.0 503 Service Unavailable\r\n\r\n", "cannot connect"),
            (b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n", "refuses"),
            (b"HTTP/1.1 2000 OK\r\n\r\n", "no HTTP"),
            (b"HTTP/1.1 100 Continue\r\n\r\n", "refuses"),
            (b"SSH-2.0-x\r\n\r\n", "no HTTP"),
        ] {
            let (result, ..) = ask(answer).await;
            let said = result.unwrap_err().to_string();
            assert!(said.contains(wanted) && !said.contains("secret"), "{said}");
        }
        let endless: &'static [u8] = Box::leak(vec![b'x'; 20_000].into_boxed_slice());
        let (result, ..) = ask(endless).await;
        assert!(matches!(result, Err(ProxyFault::Nonsense)));
    }
}
