//! Addresses and names that are not those of a public host, and what each is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of forbidden address this is; `None` for globally routable unicast.
pub(crate) fn forbidden(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => forbidden_v4(v4),
        IpAddr::V6(v6) => forbidden_v6(v6),
    }
}

/// What needs an allowance of its own.
pub(crate) const METADATA: &str = "a cloud metadata address";

/// IPv4 networks that are not globally reachable unicast (IANA special-purpose registry), first match wins; before them what
/// clouds answer at with metadata and credentials.
const V4: [(u32, u32, &str); 26] = [
    (0xA9FE_A9FE, 32, METADATA), // 169.254.169.254: AWS, Azure, Google, Oracle, OpenStack, DigitalOcean, Hetzner, …
    (0xA9FE_AA02, 32, METADATA), // 169.254.170.2: AWS ECS, credentials of tasks
    (0xA9FE_AA17, 32, METADATA), // 169.254.170.23: AWS EKS, credentials of pods
    (0xA9FE_0017, 32, METADATA), // 169.254.0.23: Tencent
    (0xA9FE_2A2A, 32, METADATA), // 169.254.42.42: Scaleway
    (0x6464_64C8, 32, METADATA), // 100.100.100.200: Alibaba
    (0xC000_00C0, 32, METADATA), // 192.0.0.192: Oracle, classic
    (0xA83F_8110, 32, METADATA), // 168.63.129.16: Azure; public by its number, and reached inside only
    (0x0000_0000, 8, "an address of this network"),
    (0x0A00_0000, 8, "a private address"),
    (0x6440_0000, 10, "a shared address of a provider (CGNAT)"),
    (0x7F00_0000, 8, "a loopback address"),
    (0xA9FE_0000, 16, "a link-local address"),
    (0xAC10_0000, 12, "a private address"),
    (0xC000_0000, 24, "a protocol assignment"),
    (0xC000_0200, 24, "a documentation address"),
    (0xC01F_C400, 24, "an AS112 address"),
    (0xC034_C100, 24, "an AMT relay address"),
    (0xC058_6300, 24, "a 6to4 relay address"),
    (0xC0A8_0000, 16, "a private address"),
    (0xC0AF_3000, 24, "an AS112 address"),
    (0xC612_0000, 15, "a benchmarking address"),
    (0xC633_6400, 24, "a documentation address"),
    (0xCB00_7100, 24, "a documentation address"),
    (0xE000_0000, 4, "a multicast address"),
    (0xF000_0000, 4, "a reserved or broadcast address"),
];

fn forbidden_v4(address: Ipv4Addr) -> Option<&'static str> {
    let bits = u32::from(address);
    V4.iter()
        .find(|(network, length, _)| (bits ^ network) >> (32 - length) == 0)
        .map(|(_, _, kind)| *kind)
}

/// The IPv4 addresses that a gateway of NAT64 with a prefix of its own below `64:ff9b:1::/48` may read in an address: the prefix has
/// 48, 56, 64 or 96 bits, and the byte 8 is passed over.
fn local_nat64(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let bytes = address.octets();
    [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]]
        .into_iter()
        .map(move |places: [usize; 4]| Ipv4Addr::from(places.map(|place| bytes[place])))
}

fn forbidden_v6(address: Ipv6Addr) -> Option<&'static str> {
    let s = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    // Forms that are refused anyway, and may be allowed by a wide network or by name: a metadata service stays one inside them.
    let inside = match s {
        [0, 0, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0xFFFF, 0, high, low] | [0x2002, high, low, ..] => {
            Some(v4(high, low))
        }
        [0x64, 0xFF9B, 1, ..] => local_nat64(address).find(|v4| forbidden_v4(*v4) == Some(METADATA)),
        _ => None,
    };
    if inside.is_some_and(|v4| forbidden_v4(v4) == Some(METADATA)) {
        return Some(METADATA);
    }
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("the unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("a loopback address"),
        // IPv4-mapped: goes out as IPv4.
        [0, 0, 0, 0, 0, 0xFFFF, high, low] => forbidden_v4(v4(high, low)),
        // IPv4-compatible and IPv4-translated forms reach no public host.
        [0, 0, 0, 0, 0, 0, ..] => Some("an IPv4-compatible address"),
        [0, 0, 0, 0, 0xFFFF, 0, ..] => Some("an IPv4-translated address"),
        // NAT64: judged as the IPv4 address that the gateway goes on to.
        [0x64, 0xFF9B, 0, 0, 0, 0, high, low] => forbidden_v4(v4(high, low)),
        [0x64, 0xFF9B, ..] => Some("a local NAT64 address"),
        [0x100, 0, 0, 0, ..] => Some("a discard address"),
        // 6to4 and Teredo carry an IPv4 address and are withdrawn: nothing legitimate is there.
        [0x2002, ..] => Some("a 6to4 address"),
        [0x2001, 0, ..] => Some("a Teredo address"),
        [0x2001, 0x0DB8, ..] => Some("a documentation address"),
        [0x2001, b, ..] if b < 0x200 => Some("a protocol assignment"),
        [0x3FFF, b, ..] if b < 0x1000 => Some("a documentation address"),
        [0x5F00, ..] => Some("a segment routing address"),
        // AWS (also EKS), Google, Oracle, Scaleway, OpenStack.
        [0xFD00, 0x0EC2, 0, 0, 0, 0, 0, 0x254 | 0x23]
        | [0xFD20, 0xCE, 0, 0, 0, 0, 0, 0x254]
        | [0xFD00, 0xC1, 0, 0, 0, 0, 0xA9FE, 0xA9FE]
        | [0xFD00, 0x42, 0, 0, 0, 0, 0, 0x42]
        | [0xFE80, 0, 0, 0, 0, 0, 0xA9FE, 0xA9FE] => Some(METADATA),
        [a, ..] if a & 0xFE00 == 0xFC00 => Some("a private address"),
        [a, ..] if a & 0xFFC0 == 0xFE80 => Some("a link-local address"),
        [a, ..] if a & 0xFFC0 == 0xFEC0 => Some("a site-local address"),
        [a, ..] if a & 0xFF00 == 0xFF00 => Some("a multicast address"),
        // Global unicast is 2000::/3 so far; the rest is reserved.
        [a, ..] if a & 0xE000 != 0x2000 => Some("a reserved address"),
        // ISATAP interface identifiers carry an IPv4 address.
        [.., 0x0000 | 0x0200, 0x5EFE, high, low] => forbidden_v4(v4(high, low)),
        _ => None,
    }
}

/// Names of metadata services; their addresses are in [`V4`] and [`forbidden_v6`]. Only a proxy is ever asked for a name.
pub(crate) const METADATA_NAMES: [&str; 9] = [
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "metadata.azure.internal",
    "metadata.tencentyun.com",
    "metadata.platformequinix.com",
    "api.metadata.cloud.ibm.com",
    "instance-data",
    "instance-data.ec2.internal",
];

/// Top-level names that are no public ones.
pub(crate) const INSIDE: [&str; 14] = [
    "alt",
    "arpa",
    "corp",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "private",
    "svc",
    "test",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_network_is_refused_at_both_ends() {
        for (address, part) in [
            ("0.0.0.0", "this network"),
            ("0.255.255.255", "this network"),
            ("10.0.0.0", "private"),
            ("10.255.255.255", "private"),
            ("100.64.0.0", "CGNAT"),
            ("100.127.255.255", "CGNAT"),
            ("100.100.100.200", "metadata"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.255", "loopback"),
            ("169.254.0.0", "link-local"),
            ("169.254.169.254", "metadata"),
            ("169.254.255.255", "link-local"),
            ("172.16.0.0", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.1", "protocol"),
            ("192.0.0.192", "metadata"),
            ("168.63.129.16", "metadata"),
            ("169.254.170.2", "metadata"),
            ("64:ff9b::a83f:8110", "metadata"),
            ("fd20:ce::254", "metadata"),
            ("fd00:c1::a9fe:a9fe", "metadata"),
            ("fe80::a9fe:a9fe", "metadata"),
            ("192.0.2.255", "documentation"),
            ("192.88.99.1", "6to4"),
            ("192.168.255.255", "private"),
            ("198.18.0.0", "benchmarking"),
            ("198.19.255.255", "benchmarking"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::7f00:1", "IPv4-compatible"),
            ("::ffff:10.0.0.1", "private"),
            ("::ffff:169.254.169.254", "metadata"),
            ("::ffff:0:7f00:1", "IPv4-translated"),
            ("64:ff9b::7f00:1", "loopback"),
            ("64:ff9b::a00:1", "private"),
            ("64:ff9b:1::a00:1", "local NAT64"),
            ("100::1", "discard"),
            ("2001::1", "Teredo"),
            ("2001:db8::1", "documentation"),
            ("2001:10::1", "protocol"),
            ("2002:7f00:1::", "6to4"),
            ("3fff::1", "documentation"),
            ("5f00::1", "segment"),
            ("fc00::1", "private"),
            ("fd00:ec2::254", "metadata"),
            ("fdff::1", "private"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
            ("4000::1", "reserved"),
            ("2a00::5efe:a00:1", "private"),
            ("2a00::200:5efe:7f00:1", "loopback"),
        ] {
            let kind = forbidden(address.parse().unwrap());
            assert!(kind.is_some_and(|k| k.contains(part)), "{address}: {kind:?}");
        }
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            assert_eq!(forbidden(address.parse().unwrap()), None, "{address}");
        }
    }
}
