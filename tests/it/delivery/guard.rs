//! Targets that lead to this machine, its neighbours or a cloud's metadata are refused when they are registered, or when they
//! are connected to: directly, and through an outgoing proxy.

use std::net::IpAddr;

use openregister_webhooks::registry::{Fields, Registration};
use orw_egress::AllowedTarget;
use orw_egress::{Cause, Client, Guard, Outgoing};
use orw_egress::{ConnectBy, Proxies};
use serde_json::json;

use super::hostile::{cause, post};
use super::hostile_targets::{DISGUISES, LITERALS, NAMES, PUBLIC, SCHEMES};
use super::net::{ConnectProxy, Names, Then, lenient, outgoing, proxies, strict};
use crate::support::receiver::{Answer, https};
use crate::support::wait::PATIENCE;

fn register(uri: &str, guard: &Guard) -> Result<Registration, String> {
    let fields =
        json!({"httpMethod": "POST", "uri": uri, "event": r"OCA\OpenRegister\Event\ObjectCreatedEvent"});
    Registration::parse(&Fields::json(fields.as_object().unwrap().clone()), guard).map_err(|e| e.to_string())
}

fn names() -> Names {
    let loopback = Names::default()
        .with("localhost", &["127.0.0.1", "::1"])
        .with("example.org", &["93.184.216.34"]);
    NAMES
        .iter()
        .fold(loopback, |names, (name, address)| names.with(name, &[address]))
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_targets_are_refused_directly_and_through_a_proxy() {
    let receiver = https().await;
    let proxy = ConnectProxy::start(Then::To(receiver.address())).await;
    let by_name = Proxies {
        connect_by: ConnectBy::Name,
        ..proxies(&proxy.url())
    };
    let clients = [
        strict(&receiver.ca_pem(), &names(), Proxies::default()),
        strict(&receiver.ca_pem(), &names(), proxies(&proxy.url())),
        strict(&receiver.ca_pem(), &names(), by_name),
    ];
    let guard = Guard::new(vec![], false);
    let named: Vec<String> = NAMES.iter().map(|(name, _)| format!("https://{name}/")).collect();
    let all = LITERALS.iter().chain(&DISGUISES).chain(&SCHEMES).copied();
    let (mut refused, mut total) = (0, 0);
    for url in all.chain(named.iter().map(String::as_str)) {
        total += 1;
        // The client connects to the target as the registration normalised it.
        match register(url, &guard) {
            Err(_) => refused += 1,
            Ok(registration) => {
                let target = registration.target.to_string();
                for client in &clients {
                    let failed = post(client, &target).await.unwrap_err();
                    assert_eq!(failed.cause, Cause::Guard, "{url} as {target}: {}", failed.error);
                }
            }
        }
        // The guard at connection time does not rely on the check at registration.
        if url.parse::<hyper::Uri>().is_ok() {
            for client in &clients {
                let Some(request) = request(url) else { continue };
                // Whoever only asks where a request would go is told the same.
                let asked = client.destination(request.uri()).await.unwrap_err();
                assert_eq!(asked.cause(), Cause::Guard, "{url}: {asked}");
                let failed = client.send(request, None, PATIENCE).await.unwrap_err();
                assert_eq!(failed.cause(), Cause::Guard, "{url}: {failed}");
            }
        }
    }
    assert!(total >= 60 && refused > 0, "{refused} of {total}");
    assert_eq!(proxy.targets(), Vec::<String>::new());
    assert_eq!(receiver.count(), 0);
}

fn request(url: &str) -> Option<hyper::Request<http_body_util::Full<bytes::Bytes>>> {
    hyper::Request::post(url)
        .body(http_body_util::Full::default())
        .ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn public_targets_go_through_by_the_vetted_address_and_nothing_else() {
    let receiver = https().await;
    let proxy = ConnectProxy::start(Then::To(receiver.address())).await;
    let url = receiver.url("/hook");
    let port = receiver.address().port();
    for (address, asked) in PUBLIC.iter().zip([
        format!("93.184.216.34:{port}"),
        format!("[2606:2800:220:1:248:1893:25c8:1946]:{port}"),
        format!("1.1.1.1:{port}"),
    ]) {
        let names = Names::default().with("localhost", &[address]);
        let client = strict(&receiver.ca_pem(), &names, proxies(&proxy.url()));
        assert_eq!(post(&client, &url).await.unwrap().status, 200);
        assert_eq!(proxy.targets().last(), Some(&asked));
    }
    // Among several addresses, forbidden ones are passed over.
    let names = Names::default().with("localhost", &["127.0.0.1", "10.0.0.1", "1.1.1.1"]);
    let client = strict(&receiver.ca_pem(), &names, proxies(&proxy.url()));
    assert_eq!(post(&client, &url).await.unwrap().status, 200);
    assert_eq!(proxy.targets().last(), Some(&format!("1.1.1.1:{port}")));
    // But a proxy that is asked by name might choose any of them.
    let by_name = Proxies {
        connect_by: ConnectBy::Name,
        ..proxies(&proxy.url())
    };
    let client = strict(&receiver.ca_pem(), &names, by_name);
    assert_eq!(cause(post(&client, &url).await), Cause::Guard);
    assert_eq!(proxy.targets().len(), 4);
}

/// Nothing is connected to: these are addresses of others, and no proxy is there.
#[tokio::test]
async fn where_a_request_would_go_is_told_without_a_connection() {
    let receiver = https().await;
    let names = Names::default()
        .with("localhost", &["127.0.0.1", "1.1.1.1", "93.184.216.34"])
        .with("nowhere.example", &[]);
    let to = async |proxies: Proxies, url: &str| {
        let client = strict(&receiver.ca_pem(), &names, proxies);
        client.destination(&url.parse().unwrap()).await
    };
    let direct = to(Proxies::default(), "https://localhost/hook").await.unwrap();
    assert_eq!(direct.to, ["1.1.1.1:443", "93.184.216.34:443"]);
    assert!(!direct.proxied);
    let proxied = to(proxies("http://127.0.0.1:1"), "https://localhost:8443/")
        .await
        .unwrap();
    assert_eq!(proxied.to, ["1.1.1.1:8443", "93.184.216.34:8443"]);
    assert!(proxied.proxied);
    let nowhere = to(Proxies::default(), "https://nowhere.example/")
        .await
        .unwrap_err();
    assert_eq!(nowhere.cause(), Cause::Dns, "{nowhere}");
    assert_eq!(receiver.count(), 0);
    // A connection would wait for its turn in this queue.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap();
    let client = Client::new(outgoing(&receiver.ca_pem(), lenient(), &names));
    let own = client
        .destination(&format!("https://{at}/").parse().unwrap())
        .await;
    assert_eq!(own.unwrap().to, [at.to_string()]);
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_changes_its_answer_gains_nothing() {
    let receiver = https().await;
    let proxy = ConnectProxy::start(Then::To(receiver.address())).await;
    // The first answer is a public address, all later ones this machine.
    let names = Names::default()
        .with("localhost", &["1.1.1.1"])
        .with("localhost", &["127.0.0.1"]);
    assert!(register("https://localhost/", &Guard::new(vec![], false)).is_ok());
    let guard = Guard::new(vec![], false);
    let client = Client::new(Outgoing {
        proxies: proxies(&proxy.url()),
        ..outgoing(&receiver.ca_pem(), guard, &names)
    });
    receiver.always(Answer::with_header(200, "connection", "close"));
    assert_eq!(post(&client, &receiver.url("/")).await.unwrap().status, 200);
    // One look-up for one connection: what was vetted is what is connected to.
    assert_eq!(names.asked().iter().filter(|n| *n == "localhost").count(), 1);
    assert_eq!(
        proxy.targets(),
        [format!("1.1.1.1:{}", receiver.address().port())]
    );
    // Over HTTP/2 the connection stays, to the address that was vetted.
    while names.asked().len() < 2 {
        receiver.pause().await;
        receiver.resume().await.unwrap();
        let again = post(&client, &receiver.url("/")).await;
        if names.asked().len() == 2 {
            assert_eq!(cause(again), Cause::Guard);
        }
    }
    let last = post(&client, &receiver.url("/")).await;
    assert_eq!(cause(last), Cause::Guard);
    assert_eq!(receiver.count(), 1);
    assert_eq!(proxy.targets().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_and_other_hints_lead_nowhere() {
    let receiver = https().await;
    let client = super::rig::client(&receiver.ca_pem());
    let places = [
        "https://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:8085/",
        "//localhost/",
        "/elsewhere",
        "file:///etc/passwd",
    ];
    for status in [300, 301, 302, 303, 305, 307, 308] {
        for place in places {
            receiver.next([Answer::with_header(status, "location", place)]);
            let answer = post(&client, &receiver.url("/")).await.unwrap();
            assert_eq!(answer.status.as_u16(), status);
        }
    }
    for (name, value) in [
        ("alt-svc", "h2=\"127.0.0.1:1\"; ma=3600"),
        ("alt-svc", "h3=\":443\""),
        ("refresh", "0; url=https://127.0.0.1/"),
        ("content-location", "https://127.0.0.1/"),
        ("link", "<https://127.0.0.1/>; rel=preload"),
    ] {
        receiver.next([Answer::with_header(200, name, value)]);
        assert_eq!(post(&client, &receiver.url("/")).await.unwrap().status, 200);
    }
    assert!(receiver.received().iter().all(|r| r.path == "/"));
    assert_eq!(receiver.count(), 7 * places.len() + 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_administrator_lists_goes_through_and_its_neighbours_do_not() {
    let receiver = https().await;
    let names = Names::default()
        .with("localhost", &["127.0.0.1"])
        .with("neighbour", &["127.0.0.1"]);
    let by_name = Guard::new(vec![AllowedTarget::Host("localhost".into())], false);
    let client = Client::new(outgoing(&receiver.ca_pem(), by_name, &names));
    assert!(post(&client, &receiver.url("/")).await.is_ok());
    let port = receiver.address().port();
    for other in [
        format!("https://neighbour:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("https://localhost.evil.example:{port}/"),
    ] {
        let cause = cause(post(&client, &other).await);
        assert!(matches!(cause, Cause::Guard | Cause::Dns), "{other}");
    }
    let network: IpAddr = "127.0.0.1".parse().unwrap();
    let by_network = Guard::new(vec![AllowedTarget::Network(network.into())], false);
    let client = Client::new(outgoing(&receiver.ca_pem(), by_network, &names));
    assert!(post(&client, &receiver.url("/")).await.is_ok());
    let one_further = format!("https://127.0.0.2:{port}/");
    assert_eq!(cause(post(&client, &one_further).await), Cause::Guard);
}
