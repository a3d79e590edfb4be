//! The built program as a process of its own: started, called, killed.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::support::wait::PATIENCE;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use orw_testkit::port::HeldPort;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// The administrator that every sidecar of the tests knows.
pub(crate) const ADMIN: (&str, &str) = ("admin", "admin-password");
/// 32 bytes in base64.
pub(crate) const MASTER_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// The program with a set of settings; running or not.
#[derive(Debug)]
pub(crate) struct Sidecar {
    settings: Vec<(String, String)>,
    pub(crate) listen: SocketAddr,
    pub(crate) metrics: SocketAddr,
    child: Option<Child>,
    log: Option<std::path::PathBuf>,
    /// Keeps both ports while the program does not run.
    ports: [HeldPort; 2],
}

/// An answer of the program.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

impl Sidecar {
    /// Not yet running, on this database; delivers to loopback, trusts the certificate authority in `ca_file`.
    pub(crate) fn new(database_url: &str, ca_file: &std::path::Path) -> Self {
        let ports = [HeldPort::take().unwrap(), HeldPort::take().unwrap()];
        let [listen, metrics] = ports.each_ref().map(HeldPort::address);
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let settings = vec![
            set("ORW_DATABASE_URL", database_url),
            set("ORW_LISTEN", &listen.to_string()),
            set("ORW_METRICS_LISTEN", &metrics.to_string()),
            set("ORW_ADMINS", &format!("{}:{}", ADMIN.0, ADMIN.1)),
            set("ORW_MASTER_KEY", MASTER_KEY),
            set("ORW_TARGETS_ALLOW", "127.0.0.0/8,localhost"),
            set("ORW_CA_FILE", &ca_file.display().to_string()),
            set(
                "ORW_LOG",
                &std::env::var("ORW_TEST_LOG").unwrap_or_else(|_| "warn".into()),
            ),
        ];
        Self {
            settings,
            listen,
            metrics,
            child: None,
            log: None,
            ports,
        }
    }

    /// Writes what it logs to a file.
    pub(crate) fn logging_to(mut self, path: &std::path::Path) -> Self {
        self.log = Some(path.to_owned());
        self
    }

    /// One more setting, or another value of one.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without a setting.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.settings.retain(|(known, _)| known != name);
        self
    }

    /// The same for requests alone: it starts and ends nothing.
    pub(crate) fn seen(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            listen: self.listen,
            metrics: self.metrics,
            child: None,
            log: None,
            ports: self.ports.clone(),
        }
    }

    /// Its settings, as environment variables.
    pub(crate) fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_openregister-webhooks"));
        command
            .env_clear()
            .envs(self.settings.iter().map(|(k, v)| (k.as_str(), v.as_str())))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end; exit code, standard output, standard error.
    pub(crate) async fn cli(&self, arguments: &[&str]) -> (i32, String, String) {
        let done = self.command().args(arguments).output();
        let done = tokio::time::timeout(PATIENCE, done).await.unwrap().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            done.status.code().unwrap_or(-1),
            text(done.stdout),
            text(done.stderr),
        )
    }

    /// Starts a command that goes on for ever, and writes its results to a file. It ends when the child is dropped.
    pub(crate) fn follow(&self, arguments: &[&str], results: &std::path::Path) -> Child {
        self.command()
            .args(arguments)
            .stdout(std::fs::File::create(results).unwrap())
            .spawn()
            .unwrap()
    }

    /// Starts `run` and waits until it says that it is ready.
    pub(crate) async fn start(&mut self) {
        self.spawn();
        self.wait_ready().await;
    }

    /// Starts `run`.
    pub(crate) fn spawn(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let mut command = self.command();
        if let Some(path) = &self.log {
            command.stderr(std::fs::File::create(path).unwrap());
        }
        self.child = Some(command.arg("run").spawn().unwrap());
    }

    pub(crate) async fn wait_ready(&mut self) {
        let began = Instant::now();
        loop {
            if let Some(ended) = self.child.as_mut().and_then(|child| child.try_wait().unwrap()) {
                panic!("the program ended: {ended}");
            }
            if get(self.metrics, "/readyz").await.is_ok_and(|r| r.status == 200) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "not ready in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills the process with SIGKILL and waits until it has ended.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.start_kill().unwrap();
            child.wait().await.unwrap();
        }
    }

    /// SIGTERM; the exit code, once it has ended by itself.
    pub(crate) async fn terminate(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        let pid = child.id()?.to_string();
        Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        tokio::time::timeout(PATIENCE, child.wait())
            .await
            .unwrap()
            .unwrap()
            .code()
    }

    /// The exit code, once it has ended without having been told to.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
        ended.expect("it does not end").unwrap().code()
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref()?.id()
    }

    /// A line of `/proc/<pid>/status` that is in kB, such as `VmRSS`.
    pub(crate) fn kibibytes(&self, line: &str) -> u32 {
        let status = format!("/proc/{}/status", self.pid().expect("it runs"));
        let status = std::fs::read_to_string(status).unwrap();
        let mut lines = status.lines();
        let value = lines
            .find_map(|l| l.strip_prefix(line)?.strip_prefix(':'))
            .unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// A command that must succeed; its JSON.
    pub(crate) async fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let (code, out, errors) = self.cli(arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {out}{errors}");
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
    }

    /// Begins a replay of the last hour; the job.
    pub(crate) async fn replay(&self, webhook: i64) -> serde_json::Value {
        let id = webhook.to_string();
        let replay = ["replay", "--webhook", &id, "--since", "1h"];
        self.json(&[&replay[..], &["--background", "--json"]].concat())
            .await
    }

    /// A request to the API as the administrator, with a JSON body.
    pub(crate) async fn api(&self, method: &str, path: &str, body: serde_json::Value) -> Reply {
        self.api_text(method, path, body.to_string()).await
    }

    /// The same with a body that is written already.
    pub(crate) async fn api_text(&self, method: &str, path: &str, body: String) -> Reply {
        use base64::Engine as _;
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", ADMIN.0, ADMIN.1));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("authorization", format!("Basic {basic}"))
            .header("ocs-apirequest", "true")
            .header("accept", "application/json")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        send(self.listen, request).await.unwrap()
    }

    /// Registers a webhook over the OCS route; its id.
    pub(crate) async fn register(&self, mut fields: serde_json::Value) -> i64 {
        if fields.get("httpMethod").is_none() {
            fields["httpMethod"] = "POST".into();
        }
        let path = "/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks?format=json";
        let reply = self.api("POST", path, fields).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()["ocs"]["data"]["id"].as_i64().unwrap()
    }

    /// The value of a metric, 0 where it is not there.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        value(&get(self.metrics, "/metrics").await.unwrap().body, name)
    }

    /// Whether it reads the outbox; a process that is only beginning does not.
    pub(crate) async fn leads(&self) -> bool {
        let metrics = get(self.metrics, "/metrics").await;
        metrics.is_ok_and(|reply| value(&reply.body, "orw_leading") > 0.5)
    }
}

fn value(text: &str, name: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
}

/// A port for a server of this test. Nobody else gets it before the process ends.
pub(crate) fn free_port() -> SocketAddr {
    static HELD: Mutex<Vec<HeldPort>> = Mutex::new(Vec::new());
    let port = HeldPort::take().unwrap();
    let address = port.address();
    HELD.lock().unwrap().push(port);
    address
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> std::io::Result<Reply> {
    let request = Request::get(path)
        .header("host", "localhost")
        .body(Full::new(Bytes::new()))
        .unwrap();
    send(address, request).await
}

pub(crate) async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> std::io::Result<Reply> {
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        let driver = tokio::spawn(connection);
        let response = sender
            .send_request(request)
            .await
            .map_err(std::io::Error::other)?;
        let status = response.status().as_u16();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(std::io::Error::other)?
            .to_bytes();
        driver.abort();
        Ok(Reply {
            status,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    };
    tokio::time::timeout(PATIENCE, exchange)
        .await
        .map_err(std::io::Error::other)?
}
