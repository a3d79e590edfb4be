//! The receiver as a process of its own, so that its CPU time counts apart.
//!
//! The benchmark starts itself with `--receive`. The two talk in lines: the process says its URL and its authority's certificate, and
//! then answers questions.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orw_testkit::receiver::{Answer, Options, Receiver};

/// The argument with which the benchmark is the receiver.
pub(crate) const ARGUMENT: &str = "--receive";
/// Before the number by which a write is known again, in the name of its object.
pub(in crate::sections) const MARK: &str = "mark #";
/// How many digits that number has.
pub(in crate::sections) const DIGITS: usize = 8;
/// Most requests that are remembered one by one.
const MOST: usize = 300_000;
/// The receiver keeps every request until it is told to forget them.
const FORGET: Duration = Duration::from_millis(100);
/// Between two looks at how many have arrived.
const LOOK: Duration = Duration::from_millis(10);

/// What has arrived since the last reset.
#[derive(Debug, Default)]
struct Seen {
    count: u64,
    connections: BTreeSet<u64>,
    /// The number of each write, and when its request had arrived, in microseconds of the wall clock.
    at: Vec<(u32, i64)>,
}

/// Is the receiver, until standard input ends.
pub(crate) async fn be() {
    let receiver = Receiver::start(Options::default()).await.unwrap();
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let kept = Arc::clone(&seen);
    receiver.decide(move |request| {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.count += 1;
        kept.connections.insert(request.connection);
        if kept.at.len() < MOST
            && let Some(number) = number(&request.body)
        {
            kept.at.push((number, request.at.timestamp_micros()));
        }
        Answer::Status(200)
    });
    let ca = serde_json::to_string(&receiver.ca_pem()).unwrap();
    println!("{}\n{ca}", receiver.url("/"));
    let answering = tokio::task::spawn_blocking(move || answer(&seen));
    let forgetting = async {
        loop {
            tokio::time::sleep(FORGET).await;
            receiver.forget();
        }
    };
    tokio::select! { _ = answering => {} () = forgetting => {} }
}

/// The number after the first [`MARK`].
fn number(body: &[u8]) -> Option<u32> {
    let at = body
        .windows(MARK.len())
        .position(|part| part == MARK.as_bytes())?
        + MARK.len();
    std::str::from_utf8(body.get(at..at + DIGITS)?).ok()?.parse().ok()
}

fn answer(seen: &Mutex<Seen>) {
    for question in std::io::stdin().lock().lines() {
        let Ok(question) = question else { return };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match question.as_str() {
            "count" => println!("{}", seen.count),
            "reset" => {
                *seen = Seen::default();
                println!("done");
            }
            _ => {
                let at = serde_json::to_string(&seen.at).unwrap();
                println!("{} {at}", seen.connections.len());
            }
        }
    }
}

/// What arrived.
pub(in crate::sections) struct Arrived {
    pub(in crate::sections) connections: usize,
    /// The number of each write, and when its request had arrived, in microseconds of the wall clock.
    pub(in crate::sections) at: Vec<(u32, i64)>,
}

/// The process; it ends with this value.
pub(in crate::sections) struct Process {
    child: Child,
    talk: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    pub(in crate::sections) url: String,
}

impl Process {
    /// Starts it, and writes the certificate of its authority to `ca`.
    pub(in crate::sections) fn start(ca: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (url, pem) = (line(&mut output), line(&mut output));
        std::fs::write(ca, serde_json::from_str::<String>(&pem).unwrap()).unwrap();
        Self {
            child,
            talk: Mutex::new((input, output)),
            url,
        }
    }

    pub(in crate::sections) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn ask(&self, question: &str) -> String {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(talk.0, "{question}").unwrap();
        talk.0.flush().unwrap();
        line(&mut talk.1)
    }

    /// Forgets what arrived so far.
    pub(in crate::sections) fn reset(&self) {
        self.ask("reset");
    }

    /// Waits until so many requests have arrived; it fails if none comes for a minute.
    pub(in crate::sections) async fn until(&self, count: u64) {
        let (mut last, mut quiet) = (0, Duration::ZERO);
        loop {
            let now: u64 = self.ask("count").parse().unwrap();
            if now >= count {
                return;
            }
            quiet = if now == last { quiet + LOOK } else { Duration::ZERO };
            assert!(
                quiet < Duration::from_secs(60),
                "{now} of {count} requests arrived"
            );
            last = now;
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(in crate::sections) fn arrived(&self) -> Arrived {
        let answer = self.ask("arrived");
        let (connections, at) = answer.split_once(' ').unwrap();
        Arrived {
            connections: connections.parse().unwrap(),
            at: serde_json::from_str(at).unwrap(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line(output: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}
