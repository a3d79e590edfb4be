//! At full size: 2 GiB both ways at constant memory, a thousand kept-alive clients, Nextcloud killed and restarted under them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::Request;
use hyper::body::{Body, Frame};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::support::api::installed;
use crate::support::nextcloud::Nextcloud;
use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::sidecar::Sidecar;

const GIB: u64 = 1 << 30;
const CLIENTS: usize = 1000;

async fn before(nextcloud: &Nextcloud) -> (Db, Sidecar) {
    let db = installed().await;
    let mut sidecar = Sidecar::new(&db.url(NEXTCLOUD), std::path::Path::new(""))
        .without("ORW_CA_FILE")
        .without("ORW_ADMINS")
        .with("ORW_NEXTCLOUD_URL", &nextcloud.url());
    sidecar.start().await;
    (db, sidecar)
}

/// Resident memory of the sidecar now, in MiB.
fn resident(sidecar: &Sidecar) -> u32 {
    sidecar.kibibytes("VmRSS") / 1024
}

async fn connect<B>(sidecar: &Sidecar) -> SendRequest<B>
where
    B: Body<Data = Bytes, Error = std::io::Error> + Send + 'static,
{
    let stream = TcpStream::connect(sidecar.listen).await.unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn get(path: &str) -> Request<http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>> {
    let empty = Empty::new().map_err(|never| match never {}).boxed_unsync();
    Request::get(path).header("host", "c").body(empty).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: make soak"]
async fn soak_two_gibibytes_both_ways_at_constant_memory() {
    let nextcloud = Nextcloud::start().await;
    let (_db, sidecar) = before(&nextcloud).await;
    let idle = resident(&sidecar);
    let mut most = 0;
    let piece = Bytes::from(vec![1_u8; 1 << 20]);
    for length in [true, false] {
        let piece = piece.clone();
        let pieces = (0..2 * 1024).map(move |_| Ok::<_, std::io::Error>(Frame::data(piece.clone())));
        let mut sender = connect(&sidecar).await;
        let mut request = Request::put("/upload").header("host", "c");
        if length {
            request = request.header("content-length", 2 * GIB);
        }
        let sending = sender.send_request(
            request
                .body(StreamBody::new(futures::stream::iter(pieces)))
                .unwrap(),
        );
        tokio::pin!(sending);
        let answer = loop {
            tokio::select! {
                answer = &mut sending => break answer.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(50)) => most = most.max(resident(&sidecar)),
            }
        };
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, format!("{0} {0}", 2 * GIB));
    }
    let mut sender = connect(&sidecar).await;
    let answer = sender
        .send_request(get(&format!("/download?{}", 2 * GIB)))
        .await
        .unwrap();
    let mut body = answer.into_body();
    let (mut read, mut looked) = (0_u64, Instant::now());
    while let Some(frame) = body.frame().await {
        read += frame.unwrap().into_data().map_or(0, |data| data.len() as u64);
        if looked.elapsed() > Duration::from_millis(50) {
            looked = Instant::now();
            most = most.max(resident(&sidecar));
        }
    }
    assert_eq!(read, 2 * GIB);
    println!("resident: {idle} MiB idle, {most} MiB at most while 6 GiB passed");
    assert!(most < idle + 32, "{idle} MiB, then {most} MiB");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: make soak"]
async fn soak_a_thousand_clients_and_a_nextcloud_that_comes_and_goes() {
    let mut nextcloud = Nextcloud::start().await;
    let (_db, sidecar) = before(&nextcloud).await;
    let idle = resident(&sidecar);
    let (stop, good, away) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut sender = connect(&sidecar).await;
        let (stop, good, away) = (Arc::clone(&stop), Arc::clone(&good), Arc::clone(&away));
        clients.push(tokio::spawn(async move {
            let mut asked = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                // Kept alive: the same connection for every request, whatever becomes of Nextcloud.
                sender.ready().await.unwrap();
                let answer = sender.send_request(get("/echo")).await.unwrap();
                let status = answer.status().as_u16();
                answer.into_body().collect().await.unwrap();
                match status {
                    200 => good.fetch_add(1, Ordering::Relaxed),
                    502 => away.fetch_add(1, Ordering::Relaxed),
                    other => panic!("{other}"),
                };
                asked += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            asked
        }));
    }
    let pass = async |counter: &AtomicU64, count: u64| {
        let (before, begun) = (counter.load(Ordering::Relaxed), Instant::now());
        while counter.load(Ordering::Relaxed) < before + count {
            assert!(begun.elapsed() < Duration::from_secs(120), "nothing moves");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    for _ in 0..5 {
        pass(&good, 3 * CLIENTS as u64).await;
        nextcloud.kill().await;
        pass(&away, CLIENTS as u64).await;
        nextcloud.run().await;
        pass(&good, CLIENTS as u64).await;
    }
    let most = resident(&sidecar);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.await.unwrap() > 1);
    }
    println!(
        "{CLIENTS} clients: {} answers, {} times away; resident {idle} MiB idle, {most} MiB under them",
        good.load(Ordering::Relaxed),
        away.load(Ordering::Relaxed)
    );
}
