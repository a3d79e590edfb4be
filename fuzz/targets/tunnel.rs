//! A proxy's answer to CONNECT: it is read to its end and no further, within bounds; only a status 2xx opens the tunnel; and no error
//! tells the proxy's password.

use futures::FutureExt as _;
use orw_egress::fuzzing::tunnel;
use orw_egress::{ProxyFault, ProxyUrl};

const TARGET: &str = "192.0.2.1:443";
const ASKED: &str = "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\nProxy-Authorization: Basic dXNlcjpodW50ZXIy\r\n\r\n";
/// How much of an answer is read at most.
const LONGEST: usize = 16 * 1024;

pub(crate) fn check(bytes: &[u8]) {
    let proxy = ProxyUrl::parse("http://user:hunter2@proxy.example:3128").expect("it is the URL of a proxy");
    let mut io = tokio::io::join(bytes, Vec::new());
    let result = tunnel(&mut io, &proxy, TARGET)
        .now_or_never()
        .expect("all bytes are there already");
    let (rest, asked) = io.into_inner();
    assert_eq!(asked, ASKED.as_bytes());
    let read = &bytes[..bytes.len() - rest.len()];
    assert!(read.len() <= LONGEST);
    let ends = |head: &[u8]| head.ends_with(b"\n\n") || head.ends_with(b"\r\n\r\n");
    // Whatever the result is, nothing behind the first empty line was taken.
    assert!((1..read.len()).all(|length| !ends(&read[..length])));
    match result {
        Ok(()) => {
            assert!(ends(read));
            assert!(matches!(
                read,
                [
                    b'H',
                    b'T',
                    b'T',
                    b'P',
                    b'/',
                    b'1',
                    b'.',
                    b'0' | b'1',
                    b' ',
                    b'2',
                    ..
                ]
            ));
        }
        Err(ProxyFault::Closed(_)) => assert!(rest.is_empty() && !ends(read)),
        Err(fault) => {
            assert!(ends(read) || read.len() == LONGEST);
            let text = format!("{fault} {fault:?}");
            assert!(
                !text.contains("hunter2") && !text.contains("dXNlcjpodW50ZXIy"),
                "{text}"
            );
        }
    }
}
