//! What the proxy costs: requests a second, time of one request, bytes a second; directly, through nginx, through the sidecar.
//!
//! One server stands for Nextcloud; everything is on this machine and over loopback, without TLS. nginx runs with a private
//! configuration of its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use openregister_webhooks::capture::{InstallOptions, install};
use orw_testkit::Generation;
use orw_testkit::nextcloud::{self, OWNER};
use orw_testkit::port::HeldPort;
use orw_testkit::postgres::{Options, PrivatePostgres, Programs};
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::NoTls;

use crate::Scope;
use crate::report::{Figure, Report, Table};
use crate::rounds;

const PROGRAM: &str = env!("CARGO_BIN_EXE_openregister-webhooks");
const DATABASE: &str = Generation::V0_2_13.database();
const CLIENTS: usize = 64;
const SMALL: usize = 1000;
const LARGE: usize = 64 << 20;

/// A process that ends with the benchmark.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) async fn run(scope: Scope) -> Report {
    let backend = serve().await;
    let folder = tempfile::tempdir().unwrap();
    let postgres = PrivatePostgres::start(Programs::find().unwrap(), Options::default()).unwrap();
    let (_sidecar, sidecar) = sidecar(&postgres, backend).await;
    let mut ways = vec![("directly".to_owned(), backend)];
    let nginx = nginx(folder.path(), backend).await;
    match &nginx {
        Some((_, version, address)) => ways.push((format!("through {version}"), *address)),
        None => println!("nginx is not installed: SKIPPED (apt-get install nginx-light)"),
    }
    ways.push(("through the sidecar".to_owned(), sidecar));
    let figures = rounds::in_turn(scope.rounds, &mut ways, async |(_, address)| {
        let (rate, many) = load(*address, CLIENTS, scope.seconds).await;
        let (_, one) = load(*address, 1, scope.seconds).await;
        let mib = download(*address, scope.seconds).await;
        let micros = |times: &[f64], part: usize| times[times.len() * part / 100] * 1e6;
        [rate, micros(&many, 99), micros(&one, 50), micros(&one, 99), mib]
    })
    .await;
    let row = |((name, _), rounds): ((String, SocketAddr), Vec<[f64; 5]>)| {
        let median = |place: usize| rounds::median(rounds.iter().map(|figures| figures[place]));
        (name, (0..5).map(|place| Figure::new(median(place), 0)).collect())
    };
    Report {
        tables: vec![Table {
            title: format!("{CLIENTS} clients and one, answers of a kilobyte; one client, answers of 64 MiB"),
            columns: [
                "",
                &format!("requests/s, {CLIENTS} clients"),
                "99 %, µs",
                "median, 1 client, µs",
                "99 %, µs",
                "MiB/s, 1 client",
            ]
            .map(str::to_owned)
            .into(),
            rows: ways.into_iter().zip(figures).map(row).collect(),
        }],
        ratios: Vec::new(),
    }
}

/// The server in Nextcloud's place; it answers with a kilobyte or with 64 MiB.
async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (small, large) = (Bytes::from(vec![b'x'; SMALL]), Bytes::from(vec![b'x'; LARGE]));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (small, large) = (small.clone(), large.clone());
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let body = match request.uri().path() {
                    "/large" => large.clone(),
                    _ => small.clone(),
                };
                async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
            });
            let builder = hyper::server::conn::http1::Builder::new();
            tokio::spawn(async move { builder.serve_connection(TokioIo::new(stream), service).await });
        }
    });
    address
}

async fn reachable(address: SocketAddr) {
    let begun = Instant::now();
    while TcpStream::connect(address).await.is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{address} does not answer"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn sidecar(postgres: &PrivatePostgres, backend: SocketAddr) -> (Process, SocketAddr) {
    nextcloud::create_owner(postgres).await.unwrap();
    nextcloud::create_database(postgres, DATABASE, Some(Generation::V0_2_13))
        .await
        .unwrap();
    let url = postgres.url(OWNER, DATABASE);
    let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let options = InstallOptions {
        table_prefix: "oc_".to_owned(),
        runtime_role: None,
        capture_all: false,
    };
    install(&mut client, &options, |_, _| {}).await.unwrap();
    let port = HeldPort::take().unwrap();
    let listen = port.address();
    let child = Command::new(PROGRAM)
        .arg("run")
        .env_clear()
        .env("ORW_DATABASE_URL", url)
        .env("ORW_LISTEN", listen.to_string())
        .env("ORW_NEXTCLOUD_URL", format!("http://{backend}"))
        .env("ORW_MASTER_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
        .env("ORW_LOG", "warn")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let process = Process(child);
    reachable(listen).await;
    (process, listen)
}

/// nginx as its manual configures a proxy, with connections kept alive on both sides.
async fn nginx(folder: &Path, backend: SocketAddr) -> Option<(Process, String, SocketAddr)> {
    let program = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"]
        .into_iter()
        .find(|path| Path::new(path).exists())?;
    let version = Command::new(program).arg("-v").output().ok()?.stderr;
    let port = HeldPort::take().unwrap();
    let listen = port.address();
    let at = folder.display();
    let config = format!(
        "daemon off; master_process on; worker_processes auto; pid {at}/pid; error_log {at}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n access_log off; keepalive_requests 1000000000;\n\
         client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;\n\
         uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n\
         upstream backend {{ server {backend}; keepalive 256; keepalive_requests 1000000000; }}\n\
         server {{ listen {listen};\n  location / {{ proxy_pass http://backend; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; proxy_set_header Host $http_host;\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_buffering off; }} }}\n}}\n"
    );
    let path = folder.join("nginx.conf");
    std::fs::write(&path, config).unwrap();
    let child = Command::new(program)
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(&path)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let process = Process(child);
    reachable(listen).await;
    Some((
        process,
        String::from_utf8_lossy(&version).trim().to_owned(),
        listen,
    ))
}

async fn connect(address: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    let request = Request::get(path).header("host", "cloud.example");
    request.body(Empty::new()).unwrap()
}

/// Requests a second over this many connections, and the time of each request, sorted.
async fn load(address: SocketAddr, clients: usize, time: Duration) -> (f64, Vec<f64>) {
    let end = Instant::now() + time;
    let asking: Vec<_> = (0..clients)
        .map(|_| {
            tokio::spawn(async move {
                let mut sender = connect(address).await;
                let mut times = Vec::new();
                while Instant::now() < end {
                    let begun = Instant::now();
                    let answer = sender.send_request(get("/small")).await.unwrap();
                    assert_eq!(answer.status(), 200);
                    let body = answer.into_body().collect().await.unwrap().to_bytes();
                    assert_eq!(body.len(), SMALL);
                    times.push(begun.elapsed().as_secs_f64());
                    sender.ready().await.unwrap();
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for asked in asking {
        times.extend(asked.await.unwrap());
    }
    times.sort_by(f64::total_cmp);
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = times.len() as f64 / time.as_secs_f64();
    (rate, times)
}

/// MiB a second over one connection.
async fn download(address: SocketAddr, time: Duration) -> f64 {
    let (begun, mut read) = (Instant::now(), 0_u64);
    let mut sender = connect(address).await;
    while begun.elapsed() < time {
        let mut body = sender.send_request(get("/large")).await.unwrap().into_body();
        while let Some(frame) = body.frame().await {
            read += frame.unwrap().into_data().map_or(0, |data| data.len() as u64);
        }
        sender.ready().await.unwrap();
    }
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    let mib = read as f64 / f64::from(1 << 20);
    mib / begun.elapsed().as_secs_f64()
}
