//! Clients that take all they can get do not keep others from being served.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openregister_webhooks::ocs::{Authenticator, NextcloudAccounts};
use openregister_webhooks::patience::Pace;
use openregister_webhooks::proxy::{Limits, Proxy, Upstream};

use super::OWN;
use super::raw::{Raw, status};
use crate::support::api::{Service, Setup, proxy_to};
use crate::support::nextcloud::Nextcloud;
use crate::support::wait::{PATIENCE, until};

const ATTACKER: &str = "127.0.0.66";
const HONEST: &str = "127.0.0.77";

/// A request of another client's, answered.
async fn ask(service: &Service, client: &str, path: &str, headers: &str) -> u16 {
    let asking = async {
        let mut raw = Raw::connect_from(client, service.address).await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: c\r\n{headers}Connection: close\r\n\r\n");
        raw.send(request).await;
        status(&raw.rest().await)
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .expect("this client gets no answer")
}

fn setup(proxy: Arc<Proxy>, trusted_proxies: &[&str]) -> Setup {
    Setup {
        authenticator: Authenticator::Nextcloud(Arc::new(NextcloudAccounts::new(proxy).unwrap())),
        trusted_proxies: trusted_proxies
            .iter()
            .map(|network| network.parse().unwrap())
            .collect(),
        tls: None,
    }
}

fn limited(nextcloud: &Nextcloud, limits: Limits) -> Arc<Proxy> {
    let tls = orw_egress::client_config(None).unwrap();
    let upstream = Upstream::new(&nextcloud.url(), tls, PATIENCE, PATIENCE).unwrap();
    Arc::new(Proxy::with_limits(Arc::new(upstream), limits).unwrap())
}

#[tokio::test]
async fn half_sent_heads_leave_room_for_other_clients() {
    let nextcloud = Nextcloud::start().await;
    let proxy = proxy_to(&nextcloud.url(), PATIENCE);
    let service = Service::start_with_room_for(32, setup(proxy, &[])).await;
    let mut held;
    let mut tries = 0;
    loop {
        held = Vec::new();
        for _ in 0..40 {
            let mut raw = Raw::connect_from(ATTACKER, service.address).await;
            // Where it was refused, the other side may have closed it already.
            let _ = raw.try_send("GET /echo HT").await;
            held.push(raw);
        }
        // The half at most: the rest is sent away, and somebody else is served meanwhile.
        let gone = |held: &[Raw]| held.iter().filter(|raw| raw.is_closed()).count();
        until("the attacker is sent away", async || gone(&held) >= 24).await;
        assert_eq!(ask(&service, HONEST, "/echo", "").await, 200);
        if gone(&held) == 24 {
            break;
        }
        // This machine is so slow that the heads' time was over before: that shows nothing.
        tries += 1;
        assert!(
            tries < 5,
            "others are served only once the attacker's time is over"
        );
    }
    // What was taken is given back: a head has to arrive.
    until("every half-sent head is cut off", async || {
        held.iter().all(Raw::is_closed)
    })
    .await;
    assert_eq!(ask(&service, ATTACKER, "/echo", "").await, 200);
}

#[tokio::test]
async fn bodies_of_one_byte_leave_room_for_other_clients() {
    let nextcloud = Nextcloud::start().await;
    let limits = Limits {
        requests: 32,
        ..Limits::default()
    };
    let service = Service::start_with(setup(limited(&nextcloud, limits), &["127.0.0.66/32"])).await;
    let mut held = Vec::new();
    // Behind a trusted proxy the client counts that it speaks for.
    for _ in 0..40 {
        let mut raw = Raw::connect_from(ATTACKER, service.address).await;
        raw.send(
            "PUT /upload HTTP/1.1\r\nHost: c\r\nX-Forwarded-For: 198.51.100.1\r\nContent-Length: 1000\r\n\
             Connection: close\r\n\r\na",
        )
        .await;
        held.push(raw);
    }
    // Those beyond the half are answered with 503.
    let mut refused = 0;
    for raw in &mut held[16..] {
        let answer = raw.until("\r\n\r\n").await;
        assert_eq!(status(&answer), 503, "{answer}");
        refused += 1;
    }
    assert_eq!(refused, 24);
    let others = "X-Forwarded-For: 198.51.100.2\r\n";
    for _ in 0..10 {
        assert_eq!(ask(&service, ATTACKER, "/echo", others).await, 200);
        assert_eq!(ask(&service, HONEST, "/echo", "").await, 200);
    }
}

#[tokio::test]
async fn a_body_comes_at_a_minimum_rate() {
    let nextcloud = Nextcloud::start().await;
    let pace = Pace {
        budget: Duration::from_secs(5),
        scarce: Duration::from_secs(5),
        rate: 10_000,
    };
    let limits = Limits {
        pace,
        ..Limits::default()
    };
    let service = Service::start_with(setup(limited(&nextcloud, limits), &[])).await;
    let head = "PUT /upload HTTP/1.1\r\nHost: c\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n";
    // One byte now and then, and never silent.
    let mut trickle = Raw::connect(service.address).await;
    trickle.send(head).await;
    let begun = Instant::now();
    while trickle.try_send("a").await.is_ok() && !trickle.is_readable() {
        assert!(begun.elapsed() < PATIENCE, "it is waited for");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(status(&trickle.rest().await), 408);
    // A slow line: nothing for a while, again and again, and fast enough in all; it takes longer than the budget.
    let mut honest = Raw::connect(service.address).await;
    honest.send(head).await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        honest.send(vec![b'a'; 10_000]).await;
    }
    assert!(honest.rest().await.ends_with("100000 9700000"));
}

#[tokio::test]
async fn slow_probes_keep_no_administrator_out() {
    let nextcloud = Nextcloud::start().await;
    let proxy = proxy_to(&nextcloud.url(), PATIENCE);
    let service = Arc::new(Service::start_with(setup(proxy, &["127.0.0.0/8"])).await);
    // As Nextcloud does with an address that guesses.
    nextcloud.mood(|mood| mood.refusal_delay = PATIENCE);
    let own = format!("{OWN}/webhooks");
    let probe = |client: &str, n: usize| {
        let (service, own) = (Arc::clone(&service), own.clone());
        let headers = format!("X-Forwarded-For: {client}\r\nAuthorization: Bearer wrong-{n}\r\n");
        tokio::spawn(async move { ask(&service, HONEST, &own, &headers).await })
    };
    let probes: Vec<_> = ["198.51.100.1", "198.51.100.2"]
        .iter()
        .flat_map(|client| (0..68).map(|n| probe(client, n)))
        .collect();
    until("so many probes have arrived", async || nextcloud.seen() >= 48).await;
    let admin = format!(
        "Authorization: Bearer {}\r\nOCS-APIRequest: true\r\n",
        Nextcloud::BEARER
    );
    let of = |client: &str| format!("X-Forwarded-For: {client}\r\n{admin}");
    assert_eq!(ask(&service, HONEST, &own, &of("198.51.100.3")).await, 200);
    // What was refused, and what took long, counts as attempts.
    let answers = futures::future::join_all(probes).await;
    let count = |status| {
        answers
            .iter()
            .filter(|answer| *answer.as_ref().unwrap() == status)
            .count()
    };
    assert_eq!(count(503) + count(429), 136, "{answers:?}");
    assert!(count(429) >= 30, "{answers:?}");
    // Callers that were right a moment ago are still let in, even where Nextcloud is always asked.
    assert_eq!(
        ask(&service, HONEST, super::LISTENERS, &of("198.51.100.3")).await,
        200
    );
}

#[tokio::test]
async fn tunnels_leave_room_for_other_clients() {
    let nextcloud = Nextcloud::start().await;
    let limits = Limits {
        tunnels: 8,
        ..Limits::default()
    };
    let service = Service::start_with(setup(limited(&nextcloud, limits), &[])).await;
    let open = async |client: &str| {
        let mut raw = Raw::connect_from(client, service.address).await;
        raw.send(
            "GET /push/websocket HTTP/1.1\r\nHost: c\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: x\r\n\r\n",
        )
        .await;
        let answer = raw.until("\r\n\r\n").await;
        (status(&answer), raw)
    };
    let mut held = Vec::new();
    for n in 0..6 {
        let (status, raw) = open(ATTACKER).await;
        assert_eq!(status, if n < 4 { 101 } else { 503 }, "{n}");
        held.push(raw);
    }
    let (status, mut tunnel) = open(HONEST).await;
    assert_eq!(status, 101);
    tunnel.send("ping").await;
    assert_eq!(tunnel.until("ping").await, "ping");
    // A tunnel that ends gives its place back.
    held.clear();
    let begun = Instant::now();
    while open(ATTACKER).await.0 != 101 {
        assert!(begun.elapsed() < PATIENCE, "no place is given back");
    }
}
