//! A proxy in front of PostgreSQL that loses answers.
//!
//! It listens on a Unix socket and reads enough of PostgreSQL's protocol to know which statement is being answered. If a
//! loss is planned for a statement, the server executes it (and commits it, unless it is part of a longer transaction), but
//! the client gets no answer: the connection ends, at once or after a silence. Or the statement reaches the server only
//! after the client has lost the connection. Everything else passes unchanged.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::mutex::lock;
use crate::postgres::PrivatePostgres;

/// The statements for which a loss can be planned.
pub trait Statement: std::fmt::Debug + Copy + Eq + Hash + Send + Sync + 'static {
    /// The statement with this text, if it is one of them.
    fn of(sql: &str) -> Option<Self>;

    /// The statement, now that its parameters are known: `values` is the rest of the Bind message, as it was sent.
    #[must_use]
    fn bound(self, values: &[u8]) -> Self {
        let _ = values;
        self
    }
}

/// How an answer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The connection ends when the server has executed the statement.
    Drop,
    /// All connections end when the server has executed the statement.
    DropAll,
    /// The connection ends after a silence of this length, or when the client gives up.
    Stall(Duration),
    /// The connection ends at once; the statement reaches the server after this time.
    Late(Duration),
}

/// A planned loss.
#[derive(Debug, Clone, Copy)]
pub struct Loss<S> {
    /// Whose answer is lost.
    pub statement: S,
    /// So many of its answers pass before.
    pub after: u64,
    pub how: How,
}

#[derive(Debug)]
struct Plan<S> {
    losses: Mutex<Vec<Loss<S>>>,
    lost: Mutex<HashMap<S, usize>>,
}

impl<S: Statement> Plan<S> {
    /// Takes the next execution of this statement into account: how its answer is lost, if it is.
    fn next(&self, statement: S) -> Option<How> {
        let mut losses = lock(&self.losses);
        let at = losses.iter().position(|loss| loss.statement == statement)?;
        let loss = losses.get_mut(at)?;
        if loss.after > 0 {
            loss.after -= 1;
            return None;
        }
        *lock(&self.lost).entry(statement).or_default() += 1;
        Some(losses.remove(at).how)
    }
}

/// The proxy; it ends when this is dropped.
#[derive(Debug)]
pub struct LossyProxy<S: Statement> {
    directory: tempfile::TempDir,
    port: u16,
    plan: Arc<Plan<S>>,
    /// How often all connections were cut; `None` once the proxy takes no connections any more.
    cuts: Arc<watch::Sender<Option<u64>>>,
    task: JoinHandle<()>,
}

impl<S: Statement> LossyProxy<S> {
    /// Starts a proxy in front of this server.
    ///
    /// # Errors
    /// If its socket cannot be made.
    pub fn start(postgres: &PrivatePostgres) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = postgres.port();
        let name = format!(".s.PGSQL.{port}");
        let listener = UnixListener::bind(directory.path().join(&name))?;
        let server = postgres.socket_dir().join(&name);
        let plan = Arc::new(Plan {
            losses: Mutex::default(),
            lost: Mutex::default(),
        });
        let cuts = Arc::new(watch::Sender::new(Some(0)));
        let task = tokio::spawn(accept(listener, server, Arc::clone(&plan), Arc::clone(&cuts)));
        Ok(Self {
            directory,
            port,
            plan,
            cuts,
            task,
        })
    }

    /// A connection string for `role` and `database`, through the proxy.
    #[must_use]
    pub fn url(&self, role: &str, database: &str) -> String {
        let (host, port) = (self.directory.path().display(), self.port);
        format!("postgres://{role}@/{database}?host={host}&port={port}")
    }

    /// Plans these losses; earlier plans that have not come true are forgotten.
    pub fn plan(&self, losses: Vec<Loss<S>>) {
        *lock(&self.plan.losses) = losses;
    }

    /// How many answers were lost so far, by statement.
    #[must_use]
    pub fn lost(&self) -> HashMap<S, usize> {
        lock(&self.plan.lost).clone()
    }

    /// Ends all connections and accepts no new ones.
    pub fn sever(&self) {
        self.cuts.send_replace(None);
    }
}

impl<S: Statement> Drop for LossyProxy<S> {
    fn drop(&mut self) {
        self.sever();
        self.task.abort();
    }
}

async fn accept<S: Statement>(
    listener: UnixListener,
    server: PathBuf,
    plan: Arc<Plan<S>>,
    cuts: Arc<watch::Sender<Option<u64>>>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let mut cut = cuts.subscribe();
        if cut.borrow_and_update().is_none() {
            continue;
        }
        let (server, plan, cuts) = (server.clone(), Arc::clone(&plan), Arc::clone(&cuts));
        tokio::spawn(async move {
            tokio::select! {
                passed = pass(client, &server, &plan, &cuts) => if let Ok(Some(late)) = passed {
                    let _ = late.execute().await;
                },
                _ = cut.changed() => {}
            }
        });
    }
}

/// Passes messages until either side ends or an answer is lost.
async fn pass<S: Statement>(
    mut client: UnixStream,
    server: &Path,
    plan: &Plan<S>,
    cuts: &watch::Sender<Option<u64>>,
) -> io::Result<Option<Late>> {
    let mut server = UnixStream::connect(server).await?;
    let startup = startup(&mut client).await?;
    server.write_all(&startup).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut queries, mut answers) = (BytesMut::new(), BytesMut::new());
    let mut query = Query::default();
    // For each query that is not answered yet, how its answer is lost; the first is the start of the session.
    let mut open: VecDeque<Option<How>> = VecDeque::from([None]);
    loop {
        tokio::select! {
            read = from_client.read_buf(&mut queries) => {
                if read? == 0 {
                    return Ok(None);
                }
                while let Some(message) = message(&mut queries) {
                    let Some((bytes, statement)) = query.add(&message) else {
                        continue;
                    };
                    let how = statement.and_then(|statement| plan.next(statement));
                    if let Some(How::Late(delay)) = how {
                        let open = open.len() + 1;
                        return Ok(Some(Late { delay, bytes, open, from_server, to_server }));
                    }
                    to_server.write_all(&bytes).await?;
                    open.push_back(how);
                }
            }
            read = from_server.read_buf(&mut answers) => {
                if read? == 0 {
                    return Ok(None);
                }
                while let Some(message) = message(&mut answers) {
                    let ready = is_ready(&message);
                    match open.front() {
                        Some(Some(how)) if ready => {
                            if let How::Stall(silence) = how {
                                // The client may give up before.
                                let gone = async { while from_client.read_buf(&mut queries).await.is_ok_and(|n| n > 0) {} };
                                let _ = tokio::time::timeout(*silence, gone).await;
                            }
                            if *how == How::DropAll {
                                cuts.send_modify(|cuts| *cuts = cuts.map(|n| n + 1));
                            }
                            return Ok(None);
                        }
                        Some(Some(_)) => {}
                        _ => {
                            to_client.write_all(&message).await?;
                            if ready {
                                open.pop_front();
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A query that is sent after its client has lost the connection.
struct Late {
    delay: Duration,
    bytes: Bytes,
    /// How many answers arrive until it is executed.
    open: usize,
    from_server: OwnedReadHalf,
    to_server: OwnedWriteHalf,
}

impl Late {
    async fn execute(mut self) -> io::Result<()> {
        tokio::time::sleep(self.delay).await;
        self.to_server.write_all(&self.bytes).await?;
        let mut answers = BytesMut::new();
        while self.open > 0 && self.from_server.read_buf(&mut answers).await? > 0 {
            while let Some(message) = message(&mut answers) {
                self.open = self.open.saturating_sub(usize::from(is_ready(&message)));
            }
        }
        Ok(())
    }
}

/// A query that the client is sending: its messages up to the one after which the server answers that it is ready.
struct Query<S> {
    bytes: BytesMut,
    statement: Option<S>,
    prepared: HashMap<Bytes, S>,
}

impl<S> Default for Query<S> {
    fn default() -> Self {
        Self {
            bytes: BytesMut::new(),
            statement: None,
            prepared: HashMap::new(),
        }
    }
}

impl<S: Statement> Query<S> {
    /// Adds a message. If it is the last one, returns the whole query and what it executes.
    fn add(&mut self, message: &Bytes) -> Option<(Bytes, Option<S>)> {
        self.bytes.extend_from_slice(message);
        let kind = *message.first()?;
        let mut body = message.slice(HEADER..);
        match kind {
            // Parse: the name of the statement, its text.
            b'P' => {
                let name = text(&mut body);
                match S::of(&String::from_utf8_lossy(&text(&mut body))) {
                    Some(statement) => self.prepared.insert(name, statement),
                    None => self.prepared.remove(&name),
                };
            }
            // Bind: the name of the portal, the name of the statement, the values.
            b'B' => {
                text(&mut body);
                let statement = self.prepared.get(&text(&mut body)).copied();
                self.statement = statement.map(|statement| statement.bound(&body));
            }
            b'Q' => self.statement = S::of(&String::from_utf8_lossy(&text(&mut body))),
            _ => {}
        }
        // Sync, a simple query, or Terminate (after which nothing comes).
        matches!(kind, b'S' | b'Q' | b'X').then(|| (self.bytes.split().freeze(), self.statement.take()))
    }
}

/// The length of a message's header: its kind and its length.
const HEADER: usize = 5;

/// Whether this is ReadyForQuery, which ends the answer to a query.
fn is_ready(message: &Bytes) -> bool {
    message.first() == Some(&b'Z')
}

/// The next complete message.
fn message(buffer: &mut BytesMut) -> Option<Bytes> {
    let length = 1 + buffer
        .get(1..HEADER)
        .map(|mut length| length.get_u32() as usize)?;
    (buffer.len() >= length).then(|| buffer.split_to(length).freeze())
}

/// The next text, which ends with a zero byte.
fn text(body: &mut Bytes) -> Bytes {
    let length = body.iter().position(|byte| *byte == 0).unwrap_or(body.len());
    let text = body.split_to(length);
    body.advance(1.min(body.len()));
    text
}

/// The startup message; a request for TLS before it is refused.
async fn startup(client: &mut UnixStream) -> io::Result<Bytes> {
    const TLS: u32 = 80_877_103;
    loop {
        let length = client.read_u32().await?;
        let mut message = BytesMut::from(&length.to_be_bytes()[..]);
        message.resize(length as usize, 0);
        let rest = message.get_mut(4..).unwrap_or_default();
        client.read_exact(rest).await?;
        if rest.get(..4) != Some(&TLS.to_be_bytes()[..]) {
            return Ok(message.freeze());
        }
        client.write_all(b"N").await?;
    }
}
