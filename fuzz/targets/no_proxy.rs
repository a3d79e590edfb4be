//! `NO_PROXY`: a list is the union of its entries, however they are separated, and is refused exactly if one of them is.
//!
//! The first line is the list; each further line is a host that is asked about.

use std::net::IpAddr;

use orw_egress::NoProxy;
use orw_egress::fuzzing::{bypasses, bypasses_address};

const PORTS: [u16; 3] = [80, 443, 8443];
const HOSTS: [&str; 6] = [
    "localhost",
    "example.org",
    "a.example.org",
    "10.0.0.1",
    "2001:db8::7",
    "::ffff:10.0.0.1",
];

pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (list, hosts) = text.split_once('\n').unwrap_or((text, ""));
    let entries: Vec<&str> = list
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|entry| !entry.is_empty())
        .collect();
    let alone: Result<Vec<NoProxy>, String> = entries.iter().map(|entry| NoProxy::parse(entry)).collect();
    let all = NoProxy::parse(list);
    // The message is about the first entry that is wrong, so it is the same.
    assert_eq!(all.as_ref().err(), alone.as_ref().err());
    let (Ok(all), Ok(alone)) = (all, alone) else {
        return;
    };
    assert_eq!(NoProxy::parse(&entries.join(" , ")).as_ref(), Ok(&all));
    for host in hosts.lines().chain(HOSTS) {
        for port in PORTS {
            one_host(&all, &alone, host, port);
        }
    }
}

fn one_host(all: &NoProxy, alone: &[NoProxy], host: &str, port: u16) {
    let past = bypasses(all, host, port);
    assert_eq!(
        past,
        alone.iter().any(|entry| bypasses(entry, host, port)),
        "{host}:{port}"
    );
    match host.parse::<IpAddr>() {
        // Whoever resolved to an address goes past the proxy only if the address itself does.
        Ok(address) => assert!(past || !bypasses_address(all, address, port), "{host}:{port}"),
        // What holds for a name holds for everything below it.
        Err(_) => assert!(
            !past || bypasses(all, &format!("a.{host}"), port),
            "{host}:{port}"
        ),
    }
}
