//! A request that two readers could read differently reaches nobody.

use super::raw::{Raw, exchange, status};
use super::{LISTENERS, OWN};
use crate::support::api::Service;
use crate::support::nextcloud::Nextcloud;

#[tokio::test]
async fn what_could_be_read_two_ways_reaches_nobody() {
    let nextcloud = Nextcloud::start().await;
    let service = Service::before(&nextcloud).await;
    let close = "Connection: close\r\n";
    for (request, wanted) in [
        ("GET /a/../b HTTP/1.1\r\nHost: c\r\n".to_owned(), 400),
        ("GET /a/%2e%2e/b HTTP/1.1\r\nHost: c\r\n".to_owned(), 400),
        (
            "GET /ocs/v2.php/..%2f..%2fx HTTP/1.1\r\nHost: c\r\n".to_owned(),
            400,
        ),
        ("GET /a%00b HTTP/1.1\r\nHost: c\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: c\r\nHost: d\r\n".to_owned(), 400),
        (
            "GET http://other.example/ HTTP/1.1\r\nHost: c\r\n".to_owned(),
            400,
        ),
        ("GET http://c/echo HTTP/1.1\r\nHost: c\r\n".to_owned(), 200),
        ("CONNECT c:443 HTTP/1.1\r\nHost: c\r\n".to_owned(), 501),
        ("TRACE / HTTP/1.1\r\nHost: c\r\n".to_owned(), 405),
        ("OPTIONS * HTTP/1.1\r\nHost: c\r\n".to_owned(), 400),
        (
            "POST /echo HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: gzip, chunked\r\n".to_owned(),
            501,
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: identity\r\n".to_owned(),
            400,
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: c\r\nContent-Length: 1\r\nContent-Length: 2\r\n".to_owned(),
            400,
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: c\r\nContent-Length: +1\r\n".to_owned(),
            400,
        ),
        ("GET /echo HTTP/1.1\r\nHost: c\r\nX-A : 1\r\n".to_owned(), 400),
        (
            "GET /echo HTTP/1.1\r\nHost: c\r\nX-A: 1\r\n folded\r\n".to_owned(),
            400,
        ),
        (
            format!("GET {}", LISTENERS.replace("/apps", "//apps")) + " HTTP/1.1\r\nHost: c\r\n",
            400,
        ),
        (
            format!("GET {}", LISTENERS.replace("apps", "%61pps")) + " HTTP/1.1\r\nHost: c\r\n",
            400,
        ),
        (format!("GET /index.php{LISTENERS} HTTP/1.1\r\nHost: c\r\n"), 400),
        (
            format!(
                "GET {} HTTP/1.1\r\nHost: c\r\n",
                LISTENERS.replace("/ocs/v2.php", "/index.php/ocsapp")
            ),
            400,
        ),
        (format!("GET {OWN}/%61udit HTTP/1.1\r\nHost: c\r\n"), 400),
        (format!("GET /{OWN}/audit HTTP/1.1\r\nHost: c\r\n"), 400),
    ] {
        let answer = exchange(service.address, &format!("{request}{close}\r\n")).await;
        assert_eq!(status(&answer), wanted, "{request}: {answer}");
        let seen = nextcloud.take_seen().len();
        assert_eq!(seen, usize::from(wanted == 200), "{request}");
    }
    // Two lengths: the chunks count, what Nextcloud gets has one length, and nothing follows on that connection.
    for lengths in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
    ] {
        let mut raw = Raw::connect(service.address).await;
        raw.send(format!(
            "POST /echo HTTP/1.1\r\nHost: c\r\n{lengths}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: c\r\n\r\n"
        ))
        .await;
        let answer = raw.rest().await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        let seen = nextcloud.take_seen();
        assert!(seen.iter().all(|seen| seen.path == "/echo"), "{seen:?}");
    }
}
