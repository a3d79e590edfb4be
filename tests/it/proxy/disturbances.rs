//! Nextcloud is slow, silent, gone, and back: what callers are answered meanwhile, and what keeps working.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use openregister_webhooks::ocs::{Authenticator, NextcloudAccounts};

use super::raw::{Raw, exchange, status};
use super::{LISTENERS, OWN};
use crate::support::api::{Service, Setup, proxy_to};
use crate::support::nextcloud::Nextcloud;

/// Before a Nextcloud that may keep silent for no longer than this.
async fn impatient(nextcloud: &Nextcloud, silence: Duration) -> Service {
    let callers = NextcloudAccounts::new(proxy_to(&nextcloud.url(), silence)).unwrap();
    Service::start_with(Setup {
        authenticator: Authenticator::Nextcloud(Arc::new(callers)),
        trusted_proxies: Vec::new(),
        tls: None,
    })
    .await
}

#[tokio::test]
async fn while_nextcloud_is_away_callers_read_so_and_our_own_routes_go_on() {
    let mut nextcloud = Nextcloud::start().await;
    let service = Service::before(&nextcloud).await;
    let own = format!("{OWN}/webhooks");
    assert_eq!(service.admin("GET", &own).send().await.status, 200);
    nextcloud.kill().await;
    let plain = service.request("GET", "/index.php/apps/files").send().await;
    assert_eq!(plain.status, 502);
    assert_eq!(plain.header("content-type"), "text/plain; charset=utf-8");
    assert!(
        plain.text.starts_with("Nextcloud cannot be reached"),
        "{}",
        plain.text
    );
    for (path, accept) in [
        ("/ocs/v2.php/cloud/user?format=json", ""),
        ("/ocs/v1.php/cloud/user", "application/json"),
        ("/ocs/v1.php/cloud/user?format=xml", ""),
    ] {
        let answer = service.request("GET", path).header("Accept", accept).send().await;
        assert_eq!(answer.status, 502, "{path}");
        let code = if path.ends_with("xml") {
            answer.text.contains("<statuscode>502</statuscode>")
        } else {
            answer.json()["ocs"]["meta"]["statuscode"] == 502
        };
        assert!(code, "{}", answer.text);
    }
    // Callers that were let in a moment ago still are; for others nothing is known.
    assert_eq!(service.admin("GET", &own).send().await.status, 200);
    let other = service
        .request("GET", &own)
        .basic("eve", "x")
        .header("Accept", "application/json");
    let answer = other.header("OCS-APIRequest", "true").send().await;
    assert_eq!(answer.status, 503);
    let message = answer.json()["ocs"]["meta"]["message"].clone();
    assert!(
        message
            .as_str()
            .unwrap()
            .starts_with("Nextcloud, which knows who you are, cannot be reached"),
        "{message}"
    );
    // The list is of both sides or of none: half of it could be taken for the whole.
    assert_eq!(service.admin("GET", LISTENERS).send().await.status, 503);
    nextcloud.run().await;
    assert_eq!(
        service
            .request("GET", "/index.php/apps/files")
            .send()
            .await
            .status,
        200
    );
    assert_eq!(service.admin("GET", LISTENERS).send().await.status, 200);
    nextcloud.mood(|mood| mood.maintenance = true);
    let answer = service.admin("GET", LISTENERS).send().await;
    assert_eq!(answer.status, 503);
    assert!(answer.text.contains("maintenance mode"), "{}", answer.text);
    nextcloud.mood(|mood| {
        mood.maintenance = false;
        mood.broken = Some(500);
    });
    assert_eq!(service.admin("GET", LISTENERS).send().await.status, 503);
}

#[tokio::test]
async fn silence_ends() {
    let nextcloud = Nextcloud::start().await;
    let service = impatient(&nextcloud, Duration::from_secs(3)).await;
    let answer = service.request("GET", "/hang").send().await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.text, "Nextcloud did not answer within 3 s\n");
    let answer = service.request("POST", "/hang").body("body").send().await;
    assert_eq!(answer.status, 504);
    // A client that goes on sending is not silent, however long it takes.
    let mut raw = Raw::connect(service.address).await;
    raw.send("PUT /upload HTTP/1.1\r\nHost: c\r\nContent-Length: 16\r\nConnection: close\r\n\r\n")
        .await;
    let begun = Instant::now();
    for _ in 0..8 {
        raw.send("ab").await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(begun.elapsed() > Duration::from_secs(3));
    assert!(raw.rest().await.ends_with("16 1560"));
}

#[tokio::test]
async fn a_slow_upload_holds_nobody_up() {
    let nextcloud = Nextcloud::start().await;
    let service = Service::before(&nextcloud).await;
    let mut slow = Vec::new();
    // Each takes four descriptors of this process, whose limit may be 1,024.
    for _ in 0..100 {
        let mut raw = Raw::connect(service.address).await;
        raw.send("PUT /upload HTTP/1.1\r\nHost: c\r\nContent-Length: 4\r\nConnection: close\r\n\r\nab")
            .await;
        slow.push(raw);
    }
    for _ in 0..20 {
        assert_eq!(service.request("GET", "/echo").send().await.status, 200);
        assert_eq!(
            service.admin("GET", &format!("{OWN}/events")).send().await.status,
            200
        );
    }
    for mut raw in slow {
        raw.send("cd").await;
        assert!(raw.rest().await.ends_with("4 394"));
    }
}

#[tokio::test]
async fn a_request_that_comes_back_does_not_go_round() {
    let mut nextcloud = Nextcloud::start().await;
    let service = Service::before(&nextcloud).await;
    // Where Nextcloud was, the sidecar's own door is now: a relay that leads back.
    nextcloud.kill().await;
    let listener = tokio::net::TcpListener::bind(nextcloud.address).await.unwrap();
    let back = service.address;
    let relay = tokio::spawn(async move {
        loop {
            let (mut there, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut here = tokio::net::TcpStream::connect(back).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut there, &mut here).await;
            });
        }
    });
    let answer = service.request("GET", "/index.php").send().await;
    assert_eq!(answer.status, 508);
    assert!(answer.text.contains("ORW_NEXTCLOUD_URL"), "{}", answer.text);
    relay.abort();
}

#[tokio::test]
async fn killed_and_restarted_under_load() {
    let mut nextcloud = Nextcloud::start().await;
    let service = Arc::new(Service::before(&nextcloud).await);
    let (stop, good, bad) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicU64::new(0)),
    );
    let load: Vec<_> = (0..16)
        .map(|_| {
            let (service, stop, good, bad) = (
                Arc::clone(&service),
                Arc::clone(&stop),
                Arc::clone(&good),
                Arc::clone(&bad),
            );
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    match service.request("GET", "/echo").send().await.status {
                        200 => good.fetch_add(1, Ordering::Relaxed),
                        502 => bad.fetch_add(1, Ordering::Relaxed),
                        other => panic!("{other}"),
                    };
                }
            })
        })
        .collect();
    let more = async |counter: &AtomicU64| {
        let (before, begun) = (counter.load(Ordering::Relaxed), Instant::now());
        while counter.load(Ordering::Relaxed) < before + 20 {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing moves");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    for _ in 0..3 {
        more(&good).await;
        nextcloud.kill().await;
        more(&bad).await;
        nextcloud.run().await;
        more(&good).await;
    }
    stop.store(true, Ordering::Relaxed);
    for task in load {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_closed_connection_is_not_the_clients_to_notice() {
    // A server that closes each connection once it has answered, without saying so: every second request finds the
    // connection closed under it.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let posts = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&posts);
    let server = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut first = true;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counted = Arc::clone(&counted);
            let answers = std::mem::take(&mut first);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                for turn in 0.. {
                    let Ok(read @ 1..) = stream.read(&mut buffer).await else {
                        return;
                    };
                    if buffer[..read].starts_with(b"POST") {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                    if turn > 0 && answers {
                        return;
                    }
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                        .await
                        .unwrap();
                }
            });
        }
    });
    let callers =
        NextcloudAccounts::new(proxy_to(&format!("http://{address}"), Duration::from_secs(60))).unwrap();
    let service = Service::start_with(Setup {
        authenticator: Authenticator::Nextcloud(Arc::new(callers)),
        trusted_proxies: Vec::new(),
        tls: None,
    })
    .await;
    assert_eq!(service.request("GET", "/a").send().await.status, 200);
    assert_eq!(service.request("GET", "/b").send().await.status, 200);
    server.abort();
    // What may have been done is not done again: see `posts_are_not_repeated`.
    assert_eq!(posts.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn posts_are_not_repeated() {
    use tokio::io::AsyncReadExt as _;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let received = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&received);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            if let Ok(1..) = stream.read(&mut buffer).await {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let callers =
        NextcloudAccounts::new(proxy_to(&format!("http://{address}"), Duration::from_secs(60))).unwrap();
    let service = Service::start_with(Setup {
        authenticator: Authenticator::Nextcloud(Arc::new(callers)),
        trusted_proxies: Vec::new(),
        tls: None,
    })
    .await;
    let post = "POST /x HTTP/1.1\r\nHost: c\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&exchange(service.address, post).await), 502);
    assert_eq!(received.load(Ordering::Relaxed), 1);
    let get = "GET /x HTTP/1.1\r\nHost: c\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&exchange(service.address, get).await), 502);
    assert_eq!(received.load(Ordering::Relaxed), 3);
}
