//! Ports for servers that tests start, kill and start again.
//!
//! Guarantees: while a [`HeldPort`] lives, the system gives this port of this address to nobody who asks for any port, neither for a listener
//! nor for the own end of a connection; a server that names the port can listen on it, as often as it likes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpSocket;

/// A TCP port of a loopback address that is kept for a server; clones keep the same port.
///
/// A port that was merely free a moment ago can be taken by any connection of any process before the server listens, or
/// between its end and its next start. This one is bound by a socket that never listens. Linux lets another socket listen
/// on it because both set `SO_REUSEADDR` (socket(7)). A server that does not set it cannot listen on this port.
#[derive(Debug, Clone)]
pub struct HeldPort {
    address: SocketAddr,
    _socket: Arc<TcpSocket>,
}

impl HeldPort {
    /// Takes a port of 127.0.0.1 that nobody uses.
    ///
    /// # Errors
    /// If the system has no free port or no file descriptor left.
    pub fn take() -> io::Result<Self> {
        Self::take_at(Ipv4Addr::LOCALHOST.into())
    }

    /// Takes a port of this address that nobody uses.
    ///
    /// # Errors
    /// As [`Self::take`], and if the address is not one of this machine.
    pub fn take_at(ip: IpAddr) -> io::Result<Self> {
        let socket = match ip {
            IpAddr::V4(_) => TcpSocket::new_v4()?,
            IpAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind((ip, 0).into())?;
        Ok(Self {
            address: socket.local_addr()?,
            _socket: Arc::new(socket),
        })
    }

    /// The address that the server has to listen on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::HeldPort;

    #[test]
    fn a_server_can_listen_on_it_again_and_again_and_until_then_nobody_answers() {
        let held = HeldPort::take().unwrap();
        for _ in 0..3 {
            let refused = TcpStream::connect(held.address()).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            let listener = TcpListener::bind(held.address()).unwrap();
            TcpStream::connect(held.address()).unwrap();
            listener.accept().unwrap();
        }
    }

    #[test]
    fn nobody_else_gets_it_and_one_server_listens_at_a_time() {
        let held = HeldPort::take().unwrap();
        let others: Vec<_> = (0..300).map(|_| HeldPort::take().unwrap()).collect();
        assert!(others.iter().all(|other| other.address() != held.address()));
        let listener = TcpListener::bind(held.address()).unwrap();
        let second = TcpListener::bind(held.address()).unwrap_err();
        assert_eq!(second.kind(), std::io::ErrorKind::AddrInUse);
        drop(listener);
    }
}
