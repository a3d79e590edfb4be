//! HTTP/2 with receivers that go away, refuse, or attack.

use std::time::Duration;

use orw_egress::Cause;
use orw_testkit::certificate::Authority;

use super::hostile::{LIMIT, cause, post, post_within};
use super::net::frame::{self, frame as make, goaway, ok, reset, settings};
use super::net::{Names, RawH2, Write, lenient, outgoing};
use super::rig::client;
use crate::support::receiver::https;
use crate::support::wait::until;
use orw_egress::Client;

const REFUSED_STREAM: u32 = 7;
const INTERNAL_ERROR: u32 = 2;

fn trusting(authority: &Authority) -> Client {
    Client::new(outgoing(&authority.pem(), lenient(), &Names::default()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_surely_not_processed_is_sent_again_at_once() {
    let authority = Authority::new().unwrap();
    // The stream above the last one that the GOAWAY names; then a new connection.
    let going = RawH2::start(&authority, settings(&[]), |connection, stream| match connection {
        0 => Write::Last(goaway(stream - 1, 0)),
        _ => Write::Once(ok(stream)),
    })
    .await;
    let client = trusting(&authority);
    assert_eq!(post(&client, &going.url).await.unwrap().status, 200);
    assert_eq!(going.heads(), [(0, 1), (1, 1)]);
    // In the middle of a connection's life, with a reason that is an error.
    let later = RawH2::start(&authority, settings(&[]), |connection, stream| {
        match (connection, stream) {
            (0, 3) => Write::Last(goaway(1, 11)),
            _ => Write::Once(ok(stream)),
        }
    })
    .await;
    for _ in 0..3 {
        assert_eq!(post(&client, &later.url).await.unwrap().status, 200);
    }
    assert_eq!(later.heads(), [(0, 1), (0, 3), (1, 1), (1, 3)]);
    let refusing = RawH2::start(&authority, settings(&[]), |connection, stream| match connection {
        0 | 1 => Write::Once(reset(stream, REFUSED_STREAM)),
        _ => Write::Once(ok(stream)),
    })
    .await;
    assert_eq!(post(&client, &refusing.url).await.unwrap().status, 200);
    assert_eq!(refusing.heads(), [(0, 1), (1, 1), (2, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_processed_is_not() {
    let authority = Authority::new().unwrap();
    let client = trusting(&authority);
    for answer in [
        // The GOAWAY names this stream too, and then the connection ends.
        |_: usize, stream: u32| Write::Last(goaway(stream, 0)),
        |_, stream| Write::Last(goaway(stream, INTERNAL_ERROR)),
        |_, stream: u32| Write::Last(goaway(stream.max(99), 0)),
        |_, stream| Write::Once(reset(stream, INTERNAL_ERROR)),
        |_, stream| Write::Once(reset(stream, 8)),
        |_, _| Write::Last(vec![]),
        |_, _| Write::Last(settings(&[])),
    ] {
        let receiver = RawH2::start(&authority, settings(&[]), answer).await;
        assert_eq!(cause(post(&client, &receiver.url).await), Cause::Protocol);
        assert_eq!(receiver.heads(), [(0, 1)], "it was sent once");
    }
    // A receiver that refuses for ever is asked three times, no more.
    let never = RawH2::start(&authority, settings(&[]), |_, stream| {
        Write::Once(reset(stream, REFUSED_STREAM))
    })
    .await;
    let failure = post(&client, &never.url).await.unwrap_err();
    assert_eq!(failure.cause, Cause::Protocol);
    assert!(
        failure.error.contains("refused the request unread 3 times"),
        "{}",
        failure.error
    );
    assert_eq!(never.heads().len(), 3);
}

/// `:status: 103` as a literal, then nothing.
fn early_hints(stream: u32) -> Vec<u8> {
    make(frame::HEADERS, 4, stream, &[0x08, 3, b'1', b'0', b'3'])
}

type Attack = (&'static str, Vec<u8>, fn(u32) -> Write);

/// Each goes on for as long as somebody reads.
fn attacks() -> Vec<Attack> {
    let plain = settings(&[]);
    vec![
        ("settings", plain.clone(), |_| {
            Write::Forever(vec![], settings(&[(4, 65_535)]).repeat(100))
        }),
        ("settings of every size", plain.clone(), |_| {
            Write::Forever(
                vec![],
                settings(&[(4, 1), (1, 0), (1, u32::MAX), (5, 16_384)].repeat(500)),
            )
        }),
        ("pings", plain.clone(), |_| {
            Write::Forever(vec![], make(frame::PING, 0, 0, &[7; 8]).repeat(100))
        }),
        ("continuations", plain.clone(), |stream| {
            let first = make(frame::HEADERS, 0, stream, &[0x88]);
            // A field `x: y`, never indexed.
            let more = make(
                frame::CONTINUATION,
                0,
                stream,
                &[0x10, 1, b'x', 1, b'y'].repeat(100),
            );
            Write::Forever(first, more)
        }),
        ("empty continuations", plain.clone(), |stream| {
            let first = make(frame::HEADERS, 0, stream, &[0x88]);
            Write::Forever(first, make(frame::CONTINUATION, 0, stream, &[]).repeat(100))
        }),
        (
            // One long field in the dynamic table, then references to it: small on the wire, huge when decoded.
            "a header bomb",
            settings(&[(1, u32::MAX), (6, u32::MAX)]),
            |stream| {
                let mut block = vec![0x88, 0x40, 1, b'x', 0x7F, 0xA1, 0x1E];
                block.extend([b'a'; 4000]);
                block.extend([0xBE; 12_000]);
                Write::Once(make(frame::HEADERS, 5, stream, &block[..16_000]))
            },
        ),
        ("interim responses", plain.clone(), |stream| {
            Write::Forever(vec![], early_hints(stream).repeat(100))
        }),
        ("empty data", plain.clone(), |stream| {
            let head = make(frame::HEADERS, 4, stream, &[0x88]);
            Write::Forever(head, make(frame::DATA, 0, stream, &[]).repeat(100))
        }),
        ("padding", plain.clone(), |stream| {
            let head = make(frame::HEADERS, 4, stream, &[0x88]);
            let mut padded = vec![255];
            padded.extend([0; 255]);
            Write::Forever(head, make(frame::DATA, 8, stream, &padded).repeat(10))
        }),
        ("window updates beyond the end", plain.clone(), |_| {
            Write::Once(make(frame::WINDOW_UPDATE, 0, 0, &0x7FFF_FFFF_u32.to_be_bytes()).repeat(2))
        }),
        ("window updates", plain.clone(), |stream| {
            Write::Forever(
                vec![],
                make(frame::WINDOW_UPDATE, 0, stream, &1_u32.to_be_bytes()).repeat(100),
            )
        }),
        ("more data than the window", plain.clone(), |stream| {
            let head = make(frame::HEADERS, 4, stream, &[0x88]);
            Write::Forever(head, make(frame::DATA, 0, stream, &[b'x'; 16_384]))
        }),
        ("resets of streams that never were", plain.clone(), |_| {
            Write::Forever(
                vec![],
                (2..2000_u32).flat_map(|n| reset(n * 2 + 101, 8)).collect(),
            )
        }),
        ("unknown frames", plain.clone(), |stream| {
            Write::Forever(vec![], make(0xFA, 0, stream, &[0; 1000]).repeat(10))
        }),
        ("priorities", plain, |stream| {
            Write::Forever(vec![], make(2, 0, stream, &[0, 0, 0, 0, 1]).repeat(100))
        }),
        ("no window for the body", settings(&[(4, 0)]), |_| {
            Write::Once(vec![])
        }),
        ("no streams at all", settings(&[(3, 0)]), |_| Write::Once(vec![])),
        ("a push", settings(&[]), |stream| {
            Write::Once(make(5, 4, stream, &[0, 0, 0, 2, 0x82]))
        }),
        ("nonsense", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), |_| {
            Write::Once(vec![])
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn attacks_end_soon_with_their_cause_and_others_do_not_notice() {
    let authority = Authority::new().unwrap();
    let client = trusting(&authority);
    let (good, well) = (https().await, std::sync::atomic::AtomicBool::new(true));
    let friendly = super::rig::client(&good.ca_pem());
    let mut servers = Vec::new();
    for (name, greeting, answer) in attacks() {
        let server = RawH2::start(&authority, greeting, move |_, stream| answer(stream)).await;
        servers.push((name, server));
    }
    let all = servers.iter().map(|(name, server)| {
        let client = client.clone();
        async move {
            match post_within(&client, &server.url, LIMIT).await {
                Err(failure) => assert!(
                    matches!(failure.cause, Cause::Protocol | Cause::Timeout),
                    "{name}: {failure:?}"
                ),
                // The head came and told the outcome; what followed it did not.
                Ok(answer) => assert!(answer.incomplete.is_some(), "{name}: {answer:?}"),
            }
        }
    });
    let others = async {
        while well.load(std::sync::atomic::Ordering::Relaxed) {
            assert_eq!(post(&friendly, &good.url("/")).await.unwrap().status, 200);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let attacked = async {
        futures::future::join_all(all).await;
        well.store(false, std::sync::atomic::Ordering::Relaxed);
    };
    tokio::join!(attacked, others);
    assert!(good.count() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_share_a_connection_and_a_few_connections_serve_many() {
    let receiver = https().await;
    let client = client(&receiver.ca_pem());
    let url = receiver.url("/");
    post(&client, &url).await.unwrap();
    let all = futures::future::join_all((0..100).map(|_| post(&client, &url))).await;
    assert!(all.iter().all(Result::is_ok));
    let used: std::collections::HashSet<_> = receiver.received().iter().map(|r| r.connection).collect();
    assert!(used.len() <= 2, "{used:?}");
    // Two names of one server with one certificate: over HTTP/2 a client may share a connection among them. Not this one,
    // for the guard has judged one name only.
    let other = receiver.url("/").replace("localhost", "127.0.0.1");
    post(&client, &other).await.unwrap();
    let last = receiver.received().last().unwrap().connection;
    assert!(!used.contains(&last));
}

/// Requests to a receiver that nothing is connected to yet. They wait for the first connection for half a second at most: if a busy machine
/// takes longer, that says nothing, and another receiver is tried.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_connection_is_waited_for_and_serves_all_who_waited() {
    for _ in 0..100 {
        let receiver = https().await;
        let client = client(&receiver.ca_pem());
        let url = receiver.url("/");
        let begun = std::time::Instant::now();
        let all = futures::future::join_all((0..30).map(|_| post(&client, &url))).await;
        let took = begun.elapsed();
        assert!(all.iter().all(Result::is_ok));
        let used: std::collections::HashSet<_> = receiver.received().iter().map(|r| r.connection).collect();
        if took < Duration::from_millis(500) {
            assert_eq!(used.len(), 1);
            return;
        }
    }
    panic!("thirty requests never took less than half a second");
}

/// Whether a socket of this machine is connected to the port, or was and is not closed yet: by the kernel's table
/// (`proc_net_tcp(5)`; 01 is ESTABLISHED, 08 CLOSE_WAIT).
fn connected_to(port: u16) -> bool {
    let remote = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    table.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[2].ends_with(&remote) && ["01", "08"].contains(&fields[3])
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ended_while_it_was_idle_is_replaced() {
    for protocols in [vec!["h2"], vec!["http/1.1"]] {
        let receiver = crate::support::receiver::Receiver::start(crate::support::receiver::Options {
            protocols,
            ..Default::default()
        })
        .await
        .unwrap();
        let client = client(&receiver.ca_pem());
        let port = receiver.address().port();
        for round in 0..3 {
            let answer = post(&client, &receiver.url("/")).await;
            assert_eq!(answer.unwrap().status, 200, "{round}");
            receiver.pause().await;
            until(
                "the client has closed its end of the idle connection",
                async || !connected_to(port),
            )
            .await;
            receiver.resume().await.unwrap();
        }
        assert_eq!(receiver.count(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn few_streams_are_as_many_as_the_receiver_allows() {
    let authority = Authority::new().unwrap();
    let client = trusting(&authority);
    // One stream at a time, answered when the next request comes or the connection is left alone: never here.
    let receiver = RawH2::start(&authority, settings(&[(3, 1)]), |_, stream| {
        Write::Once(ok(stream))
    })
    .await;
    post(&client, &receiver.url).await.unwrap();
    let all = futures::future::join_all((0..10).map(|_| post(&client, &receiver.url))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(receiver.heads().len(), 11);
}
