//! A resolver, a CONNECT proxy and raw servers for tests: nothing leaves this machine.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use orw_egress::AllowedTarget;
use orw_egress::Resolve;
use orw_egress::{Client, Guard, Outgoing};
use orw_egress::{NoProxy, Proxies, ProxyUrl};
use orw_testkit::certificate::{Authority, Flaw};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Answers lookups as it is told: each answer once, the last one for ever. It records what it was asked.
#[derive(Clone, Default)]
pub(super) struct Names(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    answers: HashMap<String, VecDeque<Vec<IpAddr>>>,
    asked: Vec<String>,
}

impl Names {
    pub(super) fn with(self, name: &str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        let mut told = self.0.lock().unwrap();
        told.answers
            .entry(name.to_owned())
            .or_default()
            .push_back(addresses);
        drop(told);
        self
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }
}

impl Resolve for Names {
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let mut told = self.0.lock().unwrap();
        told.asked.push(host.to_owned());
        let answer = told
            .answers
            .get_mut(host)
            .and_then(|answers| match answers.len() {
                1 => answers.front().cloned(),
                _ => answers.pop_front(),
            });
        let answer = answer.ok_or_else(|| io::Error::other("no such name"));
        Box::pin(std::future::ready(answer))
    }
}

/// What a proxy does with CONNECT.
#[derive(Clone)]
pub(super) enum Then {
    /// Connects to this address, whatever it was asked for.
    To(SocketAddr),
    /// Says this and closes.
    Say(&'static str),
    /// Says nothing.
    Hang,
}

/// A CONNECT proxy that writes down what it was asked.
pub(super) struct ConnectProxy {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl ConnectProxy {
    pub(super) async fn start(then: Then) -> Self {
        Self::serve(then, None).await
    }

    /// The same over TLS.
    pub(super) async fn start_tls(then: Then, authority: &Authority) -> Self {
        let leaf = authority.leaf(&["127.0.0.1"], Flaw::None).unwrap();
        let config = authority.server_config(&leaf, &[], false).unwrap();
        Self::serve(then, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn serve(then: Then, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut serving = JoinSet::new();
        let heads = Arc::clone(&asked);
        serving.spawn(async move {
            let mut clients = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (then, tls, heads) = (then.clone(), tls.clone(), Arc::clone(&heads));
                clients.spawn(async move {
                    match tls {
                        None => proxy(tcp, then, &heads).await,
                        Some(tls) => match tls.accept(tcp).await {
                            Ok(tcp) => proxy(tcp, then, &heads).await,
                            Err(error) => Err(error),
                        },
                    }
                });
            }
        });
        Self {
            address,
            asked,
            _serving: serving,
        }
    }

    /// The heads of all requests, whole.
    pub(super) fn heads(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// What it was asked to connect to.
    pub(super) fn targets(&self) -> Vec<String> {
        let heads = self.heads();
        let target = |head: &String| head.split(' ').nth(1).unwrap_or_default().to_owned();
        heads.iter().map(target).collect()
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn proxy<S>(mut io: S, then: Then, heads: &Mutex<Vec<String>>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await?);
    }
    heads
        .lock()
        .unwrap()
        .push(String::from_utf8(head).map_err(io::Error::other)?);
    match then {
        Then::To(address) => {
            let mut there = TcpStream::connect(address).await?;
            io.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                .await?;
            io.flush().await?;
            tokio::io::copy_bidirectional(&mut io, &mut there)
                .await
                .map(|_| ())
        }
        Then::Say(text) => {
            io.write_all(text.as_bytes()).await?;
            io.shutdown().await
        }
        Then::Hang => std::future::pending().await,
    }
}

/// Proxies for both schemes.
pub(super) fn proxies(url: &str) -> Proxies {
    let proxy = Arc::new(ProxyUrl::parse(url).unwrap());
    Proxies {
        https: Some(Arc::clone(&proxy)),
        http: Some(proxy),
        no_proxy: NoProxy::default(),
        ..Proxies::default()
    }
}

/// What clients are made with, trusting the authority whose PEM is given.
pub(super) fn outgoing(ca_pem: &str, guard: Guard, names: &Names) -> Outgoing {
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), ca_pem).unwrap();
    Outgoing {
        resolver: Arc::new(names.clone()),
        ..Outgoing::new(guard, orw_egress::client_config(Some(ca.path())).unwrap())
    }
}

/// A client without exceptions in its guard.
pub(super) fn strict(ca_pem: &str, names: &Names, proxies: Proxies) -> Client {
    let guard = Guard::new(vec![], false);
    Client::new(Outgoing {
        proxies,
        ..outgoing(ca_pem, guard, names)
    })
}

/// Loopback is let through, http:// too.
pub(super) fn lenient() -> Guard {
    let allow = ["127.0.0.0/8", "::1/128"].map(|n| AllowedTarget::Network(n.parse().unwrap()));
    Guard::new(allow.to_vec(), true)
}

/// What a raw HTTP/2 server writes when the head of a request has come.
pub(super) enum Write {
    Once(Vec<u8>),
    /// Then closes.
    Last(Vec<u8>),
    /// The first, then the second for ever.
    Forever(Vec<u8>, Vec<u8>),
}

/// The requests that came, by connection (from 0) and stream.
pub(super) type Heads = Arc<Mutex<Vec<(usize, u32)>>>;

/// An HTTP/2 server that reads frames and writes whatever it is told.
pub(super) struct RawH2 {
    pub(super) url: String,
    pub(super) heads: Heads,
    _serving: JoinSet<()>,
}

impl RawH2 {
    /// `greeting` is written at once, `answer` for each head: it is given the connection and the stream.
    pub(super) async fn start(
        authority: &Authority,
        greeting: Vec<u8>,
        answer: impl Fn(usize, u32) -> Write + Send + Sync + 'static,
    ) -> Self {
        let leaf = authority.leaf(&["localhost", "127.0.0.1"], Flaw::None).unwrap();
        let config = authority.server_config(&leaf, &["h2"], false).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let heads = Heads::default();
        let (answer, seen) = (Arc::new(answer), Arc::clone(&heads));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut clients = JoinSet::new();
            let mut number = 0;
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, answer, seen) = (acceptor.clone(), Arc::clone(&answer), Arc::clone(&seen));
                let greeting = greeting.clone();
                clients.spawn(async move {
                    let tls = acceptor.accept(tcp).await?;
                    raw(tls, &greeting, number, &*answer, &seen).await
                });
                number += 1;
            }
        });
        Self {
            url,
            heads,
            _serving: serving,
        }
    }

    pub(super) fn heads(&self) -> Vec<(usize, u32)> {
        self.heads.lock().unwrap().clone()
    }
}

async fn raw(
    mut tls: TlsStream<TcpStream>,
    greeting: &[u8],
    number: usize,
    answer: &(dyn Fn(usize, u32) -> Write + Send + Sync),
    seen: &Mutex<Vec<(usize, u32)>>,
) -> io::Result<()> {
    tls.write_all(greeting).await?;
    tls.flush().await?;
    let mut preface = [0; 24];
    tls.read_exact(&mut preface).await?;
    loop {
        let mut head = [0; 9];
        tls.read_exact(&mut head).await?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length];
        tls.read_exact(&mut payload).await?;
        if head[3] != frame::HEADERS {
            continue;
        }
        seen.lock().unwrap().push((number, stream));
        match answer(number, stream) {
            Write::Once(bytes) => tls.write_all(&bytes).await?,
            Write::Last(bytes) => {
                tls.write_all(&bytes).await?;
                return tls.shutdown().await;
            }
            Write::Forever(first, more) => {
                tls.write_all(&first).await?;
                // Reads nothing more: what does the client do with answers that nobody takes?
                loop {
                    tls.write_all(&more).await?;
                }
            }
        }
        tls.flush().await?;
    }
}

/// HTTP/2 frames, by hand.
pub(super) mod frame {
    pub(in super::super) const DATA: u8 = 0;
    pub(in super::super) const HEADERS: u8 = 1;
    pub(in super::super) const RST_STREAM: u8 = 3;
    pub(in super::super) const SETTINGS: u8 = 4;
    pub(in super::super) const PING: u8 = 6;
    pub(in super::super) const GOAWAY: u8 = 7;
    pub(in super::super) const WINDOW_UPDATE: u8 = 8;
    pub(in super::super) const CONTINUATION: u8 = 9;

    pub(in super::super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags];
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    pub(in super::super) fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
        let payload: Vec<u8> = pairs
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
            .collect();
        frame(SETTINGS, 0, 0, &payload)
    }

    /// A response without a body.
    pub(in super::super) fn ok(stream: u32) -> Vec<u8> {
        // END_HEADERS and END_STREAM; `:status: 200` is entry 8 of the static table.
        frame(HEADERS, 5, stream, &[0x88])
    }

    pub(in super::super) fn reset(stream: u32, reason: u32) -> Vec<u8> {
        frame(RST_STREAM, 0, stream, &reason.to_be_bytes())
    }

    pub(in super::super) fn goaway(last: u32, reason: u32) -> Vec<u8> {
        let payload = [last.to_be_bytes(), reason.to_be_bytes()].concat();
        frame(GOAWAY, 0, 0, &payload)
    }
}
