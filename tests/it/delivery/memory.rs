//! How much memory receivers that send without end can make the client use, measured in a process of its own.

use std::process::Command;

use orw_egress::Client;
use orw_testkit::certificate::Authority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::hostile::{LIMIT, post_within};
use super::net::frame::{self, frame as make, settings};
use super::net::{Names, RawH2, Write, lenient, outgoing};
use crate::support::wait::PATIENCE;

const URLS: &str = "ORW_TEST_HOSTILE_URLS";
const CA: &str = "ORW_TEST_HOSTILE_CA";
/// Requests to each receiver at once.
const AT_ONCE: usize = 8;
/// What all of them together may cost, in KiB.
const MOST: u64 = 48 * 1024;

/// The measured part; it does nothing unless the test below starts it.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let (Ok(urls), Ok(ca)) = (std::env::var(URLS), std::env::var(CA)) else {
        return;
    };
    let client = Client::new(outgoing(
        &std::fs::read_to_string(ca).unwrap(),
        lenient(),
        &Names::default(),
    ));
    let before = peak();
    for url in urls.split(' ') {
        let all = (0..AT_ONCE).map(|_| post_within(&client, url, LIMIT));
        // The head may have decided the outcome; then the body was read up to its limit.
        for answer in futures::future::join_all(all).await.into_iter().flatten() {
            assert!(
                answer.body.len() <= 64 * 1024 && answer.incomplete.is_some(),
                "{url}"
            );
        }
        println!("{url} {} KiB", peak() - before);
    }
    println!("measured {before} {}", peak());
}

/// The most memory this process ever held, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// HTTP/1.1 over TLS: `first`, then `more` for ever.
async fn endless(authority: &Authority, first: &'static [u8], more: &'static [u8]) -> String {
    let leaf = authority
        .leaf(&["127.0.0.1"], orw_testkit::certificate::Flaw::None)
        .unwrap();
    let config = authority.server_config(&leaf, &["http/1.1"], false).unwrap();
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut tls = acceptor.accept(tcp).await?;
                let _head = tls.read(&mut [0; 4096]).await?;
                tls.write_all(first).await?;
                loop {
                    tls.write_all(more).await?;
                }
                #[expect(unreachable_code, reason = "says what the block's errors are")]
                Ok::<_, std::io::Error>(())
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_without_end_cost_little_memory() {
    let authority = Authority::new().unwrap();
    let block: &'static [u8] = vec![b'x'; 64 * 1024].leak();
    let mut urls = vec![
        // 10 GiB are announced; nobody waits for them.
        endless(
            &authority,
            b"HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n",
            block,
        )
        .await,
        endless(
            &authority,
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            b"1\r\nx\r\n",
        )
        .await,
        endless(&authority, b"HTTP/1.1 200 OK\r\nx: ", block).await,
        endless(&authority, b"HTTP/1.1 200 OK\r\n", b"x-endless: yes\r\n").await,
        endless(
            &authority,
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;",
            block,
        )
        .await,
        endless(&authority, b"", b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n").await,
    ];
    let answers: [fn(u32) -> Write; 6] = [
        |stream| {
            let head = make(frame::HEADERS, 4, stream, &[0x88]);
            Write::Forever(head, make(frame::DATA, 0, stream, &[b'x'; 16_384]))
        },
        |stream| {
            let head = make(frame::HEADERS, 4, stream, &[0x88]);
            Write::Forever(head, make(frame::DATA, 0, stream, b"x").repeat(500))
        },
        |stream| {
            let hints = make(frame::HEADERS, 4, stream, &[0x08, 3, b'1', b'0', b'3']);
            Write::Forever(vec![], hints.repeat(500))
        },
        |_| Write::Forever(vec![], make(frame::PING, 0, 0, &[7; 8]).repeat(500)),
        |_| Write::Forever(vec![], settings(&[(4, 65_535)]).repeat(500)),
        |stream| {
            let first = make(frame::HEADERS, 0, stream, &[0x88]);
            let more = make(
                frame::CONTINUATION,
                0,
                stream,
                &[0x10, 1, b'x', 1, b'y'].repeat(3000),
            );
            Write::Forever(first, more)
        },
    ];
    let mut servers = Vec::new();
    for answer in answers {
        let server = RawH2::start(&authority, settings(&[(1, u32::MAX)]), move |_, s| answer(s)).await;
        urls.push(server.url.clone());
        servers.push(server);
    }
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), authority.pem()).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "delivery::memory::child", "--nocapture"])
        .env(URLS, urls.join(" "))
        .env(CA, ca.path());
    let done = tokio::task::spawn_blocking(move || child.output());
    let done = tokio::time::timeout(PATIENCE, done)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        done.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let line = said
        .lines()
        .find_map(|line| line.split_once("measured ").map(|(_, figures)| figures))
        .unwrap_or_else(|| panic!("{said}"));
    let figures: Vec<u64> = line.split(' ').map(|n| n.trim().parse().unwrap()).collect();
    eprintln!("{said}");
    assert!(figures[1] - figures[0] < MOST, "{said}");
}
