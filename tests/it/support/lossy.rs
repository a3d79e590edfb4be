//! A way to PostgreSQL that loses answers.
//!
//! A proxy on a unix socket that speaks enough of the protocol to know which statement is being answered. Where a loss is
//! planned for it, the server executes the statement (and commits it, where it is no part of a longer transaction), and the
//! client gets no answer: the connection ends, at once or after a silence. Or the statement reaches the server only after
//! the client has lost the connection. Everything else passes unchanged.

use std::collections::{HashMap, VecDeque};
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

use super::postgres::Db;

/// What the dispatcher asks of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Statement {
    /// Becoming the owner of webhooks.
    Own,
    /// Taking leases.
    Claim,
    /// Writing outcomes down.
    Record,
    /// Handing leases back: among these outcomes is one of a delivery that was not tried.
    Release,
    /// Making the next row of a lane its head.
    Promote,
    /// The end of the transaction of the last three.
    Commit,
    /// A heartbeat.
    Renew,
    /// Giving back leases that nobody knows of.
    Reconcile,
    /// Reading the events that are to be sent.
    Read,
}

impl Statement {
    fn of(sql: &str) -> Option<Self> {
        [
            ("INTO openregister_webhooks.webhook_owner", Self::Own),
            ("SET state = 'leased'", Self::Claim),
            ("m.outcome IN (", Self::Record),
            ("SET head = true", Self::Promote),
            ("COMMIT", Self::Commit),
            ("INTO openregister_webhooks.worker ", Self::Renew),
            ("DELETE FROM openregister_webhooks.claim", Self::Reconcile),
            ("AS r(day, seq)", Self::Read),
        ]
        .into_iter()
        .find(|(mark, _)| sql.contains(mark))
        .map(|(_, statement)| statement)
    }
}

/// How an answer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// The connection ends when the server has executed the statement.
    Drop,
    /// So do all others.
    DropAll,
    /// Silence, and then the connection ends.
    Stall(Duration),
    /// The connection ends before; the statement reaches the server after this time nevertheless.
    Late(Duration),
}

/// A loss that is planned: of the answer to this statement, after so many that are answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loss {
    pub(crate) statement: Statement,
    pub(crate) after: u64,
    pub(crate) how: How,
}

#[derive(Default)]
struct Plan {
    losses: Mutex<Vec<Loss>>,
    lost: Mutex<HashMap<Statement, usize>>,
}

impl Plan {
    /// How the answer to this statement is lost, if it is.
    fn next(&self, statement: Statement) -> Option<How> {
        let mut losses = self.losses.lock().unwrap();
        let at = losses.iter().position(|loss| loss.statement == statement)?;
        if losses[at].after > 0 {
            losses[at].after -= 1;
            return None;
        }
        *self.lost.lock().unwrap().entry(statement).or_default() += 1;
        Some(losses.remove(at).how)
    }
}

/// The proxy; it ends when this is dropped.
pub(crate) struct Lossy {
    directory: tempfile::TempDir,
    port: u16,
    plan: Arc<Plan>,
    /// How often all connections were cut; `None`: there is no way any more.
    way: Arc<watch::Sender<Option<u64>>>,
    task: JoinHandle<()>,
}

impl Lossy {
    /// A way to the server of this database.
    pub(crate) fn before(db: &Db) -> Self {
        let postgres = &db.server().postgres;
        let directory = tempfile::tempdir().unwrap();
        let port = postgres.port();
        let name = format!(".s.PGSQL.{port}");
        let listener = UnixListener::bind(directory.path().join(&name)).unwrap();
        let server = postgres.socket_dir().join(&name);
        let plan = Arc::new(Plan::default());
        let way = Arc::new(watch::Sender::new(Some(0)));
        let task = tokio::spawn(accept(listener, server, Arc::clone(&plan), Arc::clone(&way)));
        Self {
            directory,
            port,
            plan,
            way,
            task,
        }
    }

    /// The connection string of `role`, this way.
    pub(crate) fn url(&self, role: &str, database: &str) -> String {
        let (host, port) = (self.directory.path().display(), self.port);
        format!("postgres://{role}@/{database}?host={host}&port={port}")
    }

    /// Plans these losses, and forgets those that were planned before and have not come.
    pub(crate) fn plan(&self, losses: Vec<Loss>) {
        *self.plan.losses.lock().unwrap() = losses;
    }

    /// How many answers were lost so far, by statement.
    pub(crate) fn lost(&self) -> HashMap<Statement, usize> {
        self.plan.lost.lock().unwrap().clone()
    }

    /// Ends all connections and takes no new ones.
    pub(crate) fn sever(&self) {
        self.way.send_replace(None);
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.sever();
        self.task.abort();
    }
}

async fn accept(
    listener: UnixListener,
    server: PathBuf,
    plan: Arc<Plan>,
    way: Arc<watch::Sender<Option<u64>>>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let mut cut = way.subscribe();
        if cut.borrow_and_update().is_none() {
            continue;
        }
        let (server, plan, way) = (server.clone(), Arc::clone(&plan), Arc::clone(&way));
        tokio::spawn(async move {
            tokio::select! {
                passed = pass(client, &server, &plan, &way) => if let Ok(Some(late)) = passed {
                    let _ = late.execute().await;
                },
                _ = cut.changed() => {}
            }
        });
    }
}

/// Passes messages until either side ends, or an answer is lost.
async fn pass(
    mut client: UnixStream,
    server: &Path,
    plan: &Plan,
    way: &watch::Sender<Option<u64>>,
) -> io::Result<Option<Late>> {
    let mut server = UnixStream::connect(server).await?;
    let startup = startup(&mut client).await?;
    server.write_all(&startup).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut questions, mut answers) = (BytesMut::new(), BytesMut::new());
    let mut asking = Asking::default();
    // For each question that is not answered yet, how the answer is lost; the first is the session's beginning.
    let mut open: VecDeque<Option<How>> = VecDeque::from([None]);
    loop {
        tokio::select! {
            read = from_client.read_buf(&mut questions) => {
                if read? == 0 {
                    return Ok(None);
                }
                while let Some(message) = message(&mut questions) {
                    let Some((bytes, statement)) = asking.add(&message) else {
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
                    let ready = message[0] == b'Z';
                    match open.front() {
                        Some(Some(how)) if ready => {
                            if let How::Stall(silence) = how {
                                // A client that loses patience ends it.
                                let gone = async { while from_client.read_buf(&mut questions).await.is_ok_and(|n| n > 0) {} };
                                let _ = tokio::time::timeout(*silence, gone).await;
                            }
                            if *how == How::DropAll {
                                way.send_modify(|cuts| *cuts = cuts.map(|n| n + 1));
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

/// A question whose client is gone.
struct Late {
    delay: Duration,
    bytes: Bytes,
    /// So many answers are to come until it is executed.
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
                self.open = self.open.saturating_sub(usize::from(message[0] == b'Z'));
            }
        }
        Ok(())
    }
}

/// What the client is asking: messages up to the one after which the server answers that it is ready.
#[derive(Default)]
struct Asking {
    bytes: BytesMut,
    statement: Option<Statement>,
    prepared: HashMap<Bytes, Statement>,
}

impl Asking {
    /// One message more; where it is the last, the whole question, and what it executes.
    fn add(&mut self, message: &Bytes) -> Option<(Bytes, Option<Statement>)> {
        self.bytes.extend_from_slice(message);
        let mut body = message.slice(5..);
        match message[0] {
            // Parse: the name of the statement, its text.
            b'P' => {
                let name = text(&mut body);
                let statement = Statement::of(&String::from_utf8_lossy(&text(&mut body)));
                match statement {
                    Some(statement) => self.prepared.insert(name, statement),
                    None => self.prepared.remove(&name),
                };
            }
            // Bind: the name of the portal, of the statement, and the values.
            b'B' => {
                text(&mut body);
                let statement = self.prepared.get(&text(&mut body)).copied();
                let released = body.windows(8).any(|part| part == b"released");
                self.statement = match statement {
                    Some(Statement::Record) if released => Some(Statement::Release),
                    statement => statement,
                };
            }
            b'Q' => self.statement = Statement::of(&String::from_utf8_lossy(&text(&mut body))),
            _ => {}
        }
        // Sync, a simple query; after Terminate nothing comes.
        matches!(message[0], b'S' | b'Q' | b'X').then(|| (self.bytes.split().freeze(), self.statement.take()))
    }
}

/// The next whole message.
fn message(buffer: &mut BytesMut) -> Option<Bytes> {
    let length = 1 + buffer.get(1..5).map(|mut length| length.get_u32() as usize)?;
    (buffer.len() >= length).then(|| buffer.split_to(length).freeze())
}

/// A text that ends with a zero.
fn text(body: &mut Bytes) -> Bytes {
    let length = body.iter().position(|byte| *byte == 0).unwrap_or(body.len());
    let text = body.split_to(length);
    body.advance(1.min(body.len()));
    text
}

/// The first message; the wish for TLS before it is refused.
async fn startup(client: &mut UnixStream) -> io::Result<Bytes> {
    const TLS: u32 = 80_877_103;
    loop {
        let length = client.read_u32().await?;
        let mut message = BytesMut::from(&length.to_be_bytes()[..]);
        message.resize(length as usize, 0);
        client.read_exact(&mut message[4..]).await?;
        if (&message[4..]).get_u32() != TLS {
            return Ok(message.freeze());
        }
        client.write_all(b"N").await?;
    }
}
