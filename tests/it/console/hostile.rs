//! What a client can send: every bound, and everything that pgwire's own server would let through. The bytes go over a plain socket.

use openregister_webhooks::console::Limits;
use std::time::Duration;

use super::raw::{GSS_REQUEST, Raw, SSL_REQUEST, message, query, startup, tcp, tls};
use super::scene::{OPERATOR, READER, Served};
use crate::support::wait::{PATIENCE, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const PROTOCOL_VIOLATION: &str = "08P01";

/// A message for the extended protocol, and `Sync`.
fn synced(messages: &[Vec<u8>]) -> Vec<u8> {
    [messages.concat(), message(b'S', b"")].concat()
}

fn parse(name: &str, text: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{text}\0\0\0").as_bytes())
}

/// Nothing but the login is answered before the login, whatever kind of error comes first.
#[tokio::test]
async fn before_the_login_every_error_ends_the_connection() {
    let console = Served::start().await;
    let long = [
        b"SCRAM-SHA-256\0".as_slice(),
        &4000_u32.to_be_bytes(),
        &[b'n'; 4000],
    ]
    .concat();
    for (at, instead) in [
        query("SHOW WEBHOOKS"),
        parse("", "SHOW WEBHOOKS"),
        message(b'S', b""),
        message(b'p', b"SCRAM-SHA-1\0\xff\xff\xff\xff"),
        message(b'p', b"SCRAM-SHA-256\0\xff\xff\xff\xff"),
        message(b'p', b"SCRAM-SHA-256\0\0\0\0\x05short"),
        // The last four bytes would be read behind the end.
        message(b'p', b"SCRAM-SHA-256\0\0"),
        message(b'p', b""),
        message(b'p', &long),
        // Bound to a certificate that this connection has not.
        message(b'p', b"SCRAM-SHA-256-PLUS\0\xff\xff\xff\xff"),
        b"p\0\0\0\x03".to_vec(),
        b"nonsense".to_vec(),
    ]
    .into_iter()
    .enumerate()
    {
        let mut raw = Raw::connect(&console, 2).await;
        raw.start(OPERATOR.0).await;
        raw.send(&instead).await;
        let error = raw.refused().await;
        assert_eq!(error.field(b'C'), PROTOCOL_VIOLATION, "{at}: {error:?}");
    }
    // Queries that were sent ahead are not answered after a login that fails.
    let mut raw = Raw::connect(&console, 2).await;
    raw.start(OPERATOR.0).await;
    raw.send(
        &[
            message(b'p', b"SCRAM-SHA-256\0\0\0\0\x01x"),
            query("SHOW WEBHOOKS"),
        ]
        .concat(),
    )
    .await;
    raw.refused().await;
}

/// A message that announces more than it may is refused at once, before and after the login.
#[tokio::test]
async fn no_message_is_longer_than_its_limit() {
    let console = Served::start().await;
    let announced = b"Q\x3f\xff\xff\xff";
    let mut raw = Raw::connect(&console, 3).await;
    raw.start(OPERATOR.0).await;
    raw.send(announced).await;
    assert_eq!(raw.refused().await.field(b'C'), PROTOCOL_VIOLATION);
    let mut raw = Raw::logged_in(&console, OPERATOR, 3).await;
    raw.send(announced).await;
    assert_eq!(raw.refused().await.field(b'C'), PROTOCOL_VIOLATION);
    let mut raw = Raw::logged_in(&console, OPERATOR, 3).await;
    raw.send(&query(&format!("SHOW LAG -- {}", "x".repeat(65_600))))
        .await;
    assert_eq!(raw.refused().await.field(b'C'), PROTOCOL_VIOLATION);
    // The start of a session: longer than PostgreSQL's, and with a length that is none.
    for head in [
        [0, 0, 0x27, 0x11, 0, 3, 0, 0],
        [0, 0, 0, 7, 0, 3, 0, 0],
        [0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0],
    ] {
        let mut raw = Raw::connect(&console, 3).await;
        raw.send(&head).await;
        raw.closed().await;
    }
    let mut raw = Raw::connect(&console, 3).await;
    raw.send(&[0, 0, 0, 9, 0, 2, 0, 0, 0]).await;
    assert_eq!(raw.refused().await.field(b'C'), "0A000");
}

/// What is sent in clear behind the request for TLS does not count as sent within TLS.
#[tokio::test]
async fn nothing_sent_before_the_handshake_is_used_after_it() {
    let console = Served::start().await;
    let mut stream = tcp(&console, 4).await;
    let stuffed = [
        &SSL_REQUEST[..],
        &startup(&[("user", OPERATOR.0), ("database", "console")]),
    ]
    .concat();
    stream.write_all(&stuffed).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'S');
    // The bytes reach the handshake, which they spoil.
    let refused = tls(&console, stream, &[]).await;
    assert!(refused.is_err());
    // GSSAPI is refused, and TLS may follow; a third request is one too many.
    let mut stream = tcp(&console, 4).await;
    stream.write_all(&GSS_REQUEST).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'N');
    stream.write_all(&SSL_REQUEST).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'S');
    tls(&console, stream, &[]).await.unwrap();
    let mut raw = Raw::connect(&console, 4).await;
    raw.send(&[GSS_REQUEST, GSS_REQUEST, GSS_REQUEST].concat()).await;
    raw.closed().await;
    // TLS without a request needs the protocol's name, as since PostgreSQL 17.
    let stream = tls(&console, tcp(&console, 4).await, &[b"postgresql"])
        .await
        .unwrap();
    let mut raw = Raw { io: Box::new(stream) };
    assert_eq!(
        raw.start(OPERATOR.0).await,
        ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]
    );
    let mut raw = match tls(&console, tcp(&console, 4).await, &[]).await {
        Ok(stream) => Raw { io: Box::new(stream) },
        Err(_) => return,
    };
    raw.closed().await;
}

/// SCRAM-SHA-256-PLUS is offered over TLS only; who could have used it and was kept from it is refused.
#[tokio::test]
async fn the_login_is_bound_to_the_certificate_over_tls_only() {
    let console = Served::start().await;
    let mut plain = Raw::connect(&console, 5).await;
    assert_eq!(plain.start(OPERATOR.0).await, ["SCRAM-SHA-256"]);
    let first = |flag: &str, mechanism: &str| {
        let text = format!("{flag},,n=,r=nonce");
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        message(
            b'p',
            &[mechanism.as_bytes(), b"\0", &length, text.as_bytes()].concat(),
        )
    };
    // A client that says it could bind, and one that mixes the two.
    for (flag, mechanism) in [
        ("y", "SCRAM-SHA-256"),
        ("n", "SCRAM-SHA-256-PLUS"),
        ("p=tls-server-end-point", "SCRAM-SHA-256"),
        ("p=tls-unique", "SCRAM-SHA-256-PLUS"),
    ] {
        let mut raw = Raw::connect_tls(&console, 5).await;
        raw.start(OPERATOR.0).await;
        raw.send(&first(flag, mechanism)).await;
        let error = raw.refused().await;
        assert_eq!(error.field(b'C'), PROTOCOL_VIOLATION, "{flag} {mechanism}");
    }
}

/// Messages whose parts do not fit, formats that do not fit, more rows than memory: an error, and the process lives.
#[tokio::test]
async fn what_makes_the_decoder_panic_is_an_error() {
    let console = Served::start().await;
    for malformed in [
        message(b'P', b"\0\0\xff\xff"),
        message(b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0"),
        message(b'B', b""),
        message(b'D', b""),
        message(b'E', b"\0"),
        message(b'Q', b"without an end"),
        message(b'F', b"\0\0\0\0"),
        b"Q\0\0\0\0".to_vec(),
    ] {
        let mut raw = Raw::logged_in(&console, READER, 6).await;
        raw.send(&malformed).await;
        let error = raw.refused().await;
        assert_eq!(error.field(b'C'), PROTOCOL_VIOLATION, "{malformed:?}");
    }
    let mut raw = Raw::logged_in(&console, READER, 6).await;
    // Two codes for four columns; a code that there is not.
    for formats in [&b"\0\x02\0\x01\0\x01"[..], b"\0\x01\0\x07"] {
        let bind = message(b'B', &[b"\0\0\0\0\0\0", formats].concat());
        raw.send(&synced(&[parse("", "SHOW CONFIG"), bind])).await;
        let answer = raw.answer().await;
        let error = answer.iter().find(|message| message.kind == b'E').unwrap();
        assert_eq!(error.field(b'S'), "ERROR", "{error:?}");
    }
    // Two billion rows, and a negative number, stand for all.
    for rows in [&b"\0\x7f\xff\xff\xff"[..], b"\0\x80\0\0\0"] {
        let bind = message(b'B', b"\0\0\0\0\0\0\0\0");
        raw.send(&synced(&[parse("", "SHOW HELP"), bind, message(b'E', rows)]))
            .await;
        let answer = raw.answer().await;
        assert_eq!(answer[answer.len() - 2].kind, b'C', "{answer:?}");
    }
}

/// Statements and portals are counted, and their names have a length.
#[tokio::test]
async fn a_session_keeps_a_bounded_number_of_statements() {
    let console = Served::start().await;
    let mut raw = Raw::logged_in(&console, READER, 7).await;
    let all: Vec<_> = (0..257).map(|at| parse(&format!("s{at}"), "SHOW LAG")).collect();
    raw.send(&synced(&all)).await;
    let answer = raw.answer().await;
    assert_eq!(answer.iter().filter(|message| message.kind == b'1').count(), 256);
    assert_eq!(answer[256].field(b'C'), "54000");
    let portals: Vec<_> = (0..257)
        .map(|at| message(b'B', format!("p{at}\0s0\0\0\0\0\0\0\0").as_bytes()))
        .collect();
    raw.send(&synced(&portals)).await;
    let answer = raw.answer().await;
    assert_eq!(answer.iter().filter(|message| message.kind == b'2').count(), 256);
    raw.send(&synced(&[parse(&"n".repeat(129), "SHOW LAG")])).await;
    assert_eq!(raw.answer().await[0].field(b'C'), "54000");
    // The session goes on.
    raw.send(&query("DEALLOCATE ALL; SHOW VERSION")).await;
    assert_eq!(raw.answer().await.last().unwrap().kind, b'Z');
}

/// Who does not log in is cut off; who does nothing for too long, too.
#[tokio::test]
async fn nobody_keeps_a_connection_without_using_it() {
    let short = Duration::from_millis(300);
    let console = Served::with(Limits {
        login: short,
        login_while_scarce: short,
        ..Limits::default()
    })
    .await;
    let begun = startup(&[("user", OPERATOR.0)]);
    for sent in [
        &b""[..],
        &[0, 0],
        &SSL_REQUEST[..],
        &begun[..9],
        &begun[..],
        &[0x16],
    ] {
        let mut raw = Raw::connect(&console, 8).await;
        raw.send(sent).await;
        raw.closed().await;
    }
    let console = Served::with(Limits {
        idle: short,
        idle_while_scarce: short,
        ..Limits::default()
    })
    .await;
    let mut raw = Raw::logged_in(&console, READER, 8).await;
    assert_eq!(raw.refused().await.field(b'C'), "57P05");
}

/// One client gets half of the places, and another one still gets in.
#[tokio::test]
async fn one_client_does_not_take_all_connections() {
    let console = Served::with(Limits {
        connections: 8,
        ..Limits::default()
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(Raw::logged_in(&console, READER, 9).await);
    }
    let mut raw = Raw::connect(&console, 9).await;
    raw.closed().await;
    Raw::logged_in(&console, READER, 10).await;
    held.clear();
    until("the places are free again", async || {
        let mut raw = Raw::connect(&console, 9).await;
        raw.send(&startup(&[("user", READER.0)])).await;
        raw.next().await.is_some()
    })
    .await;
}

/// A request to cancel needs number and key; a wrong one has no answer, and tells nothing.
#[tokio::test]
async fn cancel_requests_need_the_key_and_are_counted() {
    let console = Served::start().await;
    let mut raw = Raw::connect(&console, 11).await;
    let answer = raw.log_in(READER.0, READER.1).await;
    let key = answer.iter().find(|message| message.kind == b'K').unwrap();
    let request = |key: &[u8]| [&[0, 0, 0, 16, 4, 210, 22, 46][..], key].concat();
    let wrong: Vec<u8> = key.body.iter().map(|byte| byte ^ 1).collect();
    for asked in [
        request(&key.body),
        request(&wrong),
        vec![0, 0, 0, 12, 4, 210, 22, 46, 0, 0, 0, 1],
    ] {
        let mut cancel = Raw::connect(&console, 11).await;
        cancel.send(&asked).await;
        let mut rest = Vec::new();
        let read = cancel.io.read_to_end(&mut rest);
        let _ = tokio::time::timeout(PATIENCE, read).await.unwrap();
        assert!(rest.is_empty());
    }
    // An idle session is not disturbed, and neither is its next command.
    raw.send(&query("SHOW VERSION")).await;
    let answer = raw.answer().await;
    assert!(answer.iter().all(|message| message.kind != b'E'), "{answer:?}");
}
