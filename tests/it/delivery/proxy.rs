//! The outgoing proxy: what it is asked, what it learns, and what happens to deliveries when it fails.

use std::sync::Arc;
use std::time::Duration;

use openregister_webhooks::delivery::{Dispatcher, Options, Webhooks};
use openregister_webhooks::registry::{Status, WebhookId};
use orw_egress::AllowedTarget;
use orw_egress::{Cause, Client, Guard, Outgoing};
use orw_egress::{ConnectBy, NoProxy, Proxies};
use orw_testkit::certificate::Authority;
use tokio_util::sync::CancellationToken;

use super::hostile::{LIMIT, cause, post};
use super::net::{ConnectProxy, Names, Then, outgoing, proxies, strict};
use super::rig::{Rig, database, webhook};
use crate::support::cli::Cli;
use crate::support::receiver::{Receiver, https};
use crate::support::sidecar::free_port;
use crate::support::wait::PATIENCE;

/// A name that leads somewhere public, where nothing of ours goes.
fn public() -> Names {
    Names::default().with("localhost", &["93.184.216.34"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_sees_an_address_and_no_request() {
    let receiver = https().await;
    let proxy = ConnectProxy::start(Then::To(receiver.address())).await;
    let url = format!("http://us%40er:s%3Acret@{}", proxy.address);
    let client = strict(&receiver.ca_pem(), &public(), proxies(&url));
    for _ in 0..3 {
        assert_eq!(
            post(&client, &receiver.url("/secret-path")).await.unwrap().status,
            200
        );
    }
    let got = receiver.received();
    assert!(
        got.iter()
            .all(|r| r.path == "/secret-path" && r.header("proxy-authorization").is_empty())
    );
    let heads = proxy.heads();
    let port = receiver.address().port();
    let expected = format!(
        "CONNECT 93.184.216.34:{port} HTTP/1.1\r\nHost: 93.184.216.34:{port}\r\nProxy-Authorization: Basic dXNAZXI6czpjcmV0\r\n\r\n"
    );
    assert_eq!(heads, [expected], "one tunnel, reused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_may_speak_tls_itself_and_plain_targets_are_tunnelled_too() {
    let (receiver, authority) = (https().await, Authority::new().unwrap());
    let both = format!("{}{}", receiver.ca_pem(), authority.pem());
    let proxy = ConnectProxy::start_tls(Then::To(receiver.address()), &authority).await;
    let url = proxy.url().replace("http://", "https://");
    let client = strict(&both, &public(), proxies(&url));
    assert_eq!(post(&client, &receiver.url("/")).await.unwrap().status, 200);
    assert_eq!(proxy.targets().len(), 1);
    // The proxy's certificate is not trusted: not the receiver's fault.
    let client = strict(&receiver.ca_pem(), &public(), proxies(&url));
    let failure = post(&client, &receiver.url("/")).await.unwrap_err();
    assert_eq!(failure.cause, Cause::Proxy);
    assert!(failure.error.contains("ORW_CA_FILE"), "{}", failure.error);

    let options = crate::support::receiver::Options {
        tls: false,
        ..Default::default()
    };
    let plain = Receiver::start(options).await.unwrap();
    let proxy = ConnectProxy::start(Then::To(plain.address())).await;
    let client = Client::new(Outgoing {
        proxies: proxies(&proxy.url()),
        ..outgoing(&receiver.ca_pem(), Guard::new(vec![], true), &public())
    });
    assert_eq!(post(&client, &plain.url("/x")).await.unwrap().status, 200);
    let got = plain.received();
    let host = format!("localhost:{}", plain.address().port());
    assert_eq!(
        (got[0].path.as_str(), got[0].header("host")),
        ("/x", host.as_str())
    );
    assert_eq!(
        proxy.targets(),
        [format!("93.184.216.34:{}", plain.address().port())]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_proxy_are_called_that_and_show_no_credentials() {
    let receiver = https().await;
    let credentials = |address: String| address.replace("http://", "http://user:hidden@");
    for (then, words) in [
        (
            Then::Say("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n"),
            "credentials",
        ),
        (
            Then::Say("HTTP/1.1 403 Forbidden\r\n\r\n"),
            "refuses to connect to 93.184.216.34",
        ),
        (
            Then::Say("HTTP/1.1 503 Service Unavailable\r\n\r\n"),
            "cannot connect to 93.184.216.34",
        ),
        (Then::Say("HTTP/1.1 504 Gateway Timeout\r\n\r\n"), "status 504"),
        (
            Then::Say("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n"),
            "status 302",
        ),
        (Then::Say("SSH-2.0-OpenSSH\r\n\r\n"), "no HTTP"),
        (Then::Say(""), "closed the connection"),
        (Then::Hang, "in time"),
    ] {
        let connect_timeout = if matches!(then, Then::Hang) {
            LIMIT
        } else {
            PATIENCE
        };
        let proxy = ConnectProxy::start(then).await;
        let client = Client::new(Outgoing {
            proxies: proxies(&credentials(proxy.url())),
            connect_timeout,
            ..outgoing(&receiver.ca_pem(), Guard::new(vec![], false), &public())
        });
        let failure = post(&client, &receiver.url("/")).await.unwrap_err();
        assert_eq!(failure.cause, Cause::Proxy, "{}", failure.error);
        assert!(failure.error.contains(words), "{}: {words}", failure.error);
        assert!(!failure.error.contains("hidden"), "{}", failure.error);
    }
    let nobody = format!("http://{}", free_port());
    for url in [nobody.as_str(), "http://no-such-proxy.invalid:3128"] {
        let client = strict(&receiver.ca_pem(), &public(), proxies(url));
        let failure = post(&client, &receiver.url("/")).await.unwrap_err();
        assert_eq!(failure.cause, Cause::Proxy, "{}", failure.error);
    }
    // What goes wrong behind the tunnel is the receiver's.
    let proxy = ConnectProxy::start(Then::To(receiver.address())).await;
    let stranger = Authority::new().unwrap();
    let client = strict(&stranger.pem(), &public(), proxies(&proxy.url()));
    assert_eq!(cause(post(&client, &receiver.url("/")).await), Cause::Tls);
    assert_eq!(receiver.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_address_is_asked_for_where_the_proxy_cannot_reach_the_first() {
    let receiver = https().await;
    let names = Names::default().with("localhost", &["2606:4700::1111", "1.1.1.1"]);
    let proxy = ConnectProxy::start(Then::Say("HTTP/1.1 503 x\r\n\r\n")).await;
    let client = strict(&receiver.ca_pem(), &names, proxies(&proxy.url()));
    assert_eq!(cause(post(&client, &receiver.url("/")).await), Cause::Proxy);
    let port = receiver.address().port();
    assert_eq!(
        proxy.targets(),
        [format!("[2606:4700::1111]:{port}"), format!("1.1.1.1:{port}")]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_and_this_machine_go_past_it() {
    let receiver = https().await;
    let proxy = ConnectProxy::start(Then::To(receiver.address())).await;
    let url = receiver.url("/");
    let allow = |what: &str| vec![AllowedTarget::Network(what.parse().unwrap())];
    let send = async |connect_timeout, no_proxy: &str, allowed: Vec<AllowedTarget>, names: &Names| {
        let client = Client::new(Outgoing {
            proxies: Proxies {
                no_proxy: NoProxy::parse(no_proxy).unwrap(),
                ..proxies(&proxy.url())
            },
            connect_timeout,
            ..outgoing(&receiver.ca_pem(), Guard::new(allowed, false), names)
        });
        post(&client, &url).await
    };
    let here = Names::default().with("localhost", &["127.0.0.1"]);
    // At the proxy, 127.0.0.1 would be the proxy.
    assert!(send(PATIENCE, "", allow("127.0.0.0/8"), &here).await.is_ok());
    assert_eq!(proxy.targets().len(), 0);
    for no_proxy in ["*", "localhost", ".invalid,localhost", "93.184.216.0/24"] {
        // Directly, nobody is there or nothing leads there.
        let direct = send(LIMIT, no_proxy, vec![], &public()).await.unwrap_err();
        assert!(
            matches!(direct.cause, Cause::Connect | Cause::Timeout),
            "{direct:?}"
        );
        assert_eq!(proxy.targets().len(), 0, "{no_proxy}");
    }
    for no_proxy in ["", "elsewhere.example", ".localhost", "10.0.0.0/8", "localhost:1"] {
        assert!(
            send(PATIENCE, no_proxy, vec![], &public()).await.is_ok(),
            "{no_proxy}"
        );
    }
    assert_eq!(proxy.targets().len(), 5);
    // Exceptions from the proxy are no exceptions from the guard.
    assert_eq!(cause(send(PATIENCE, "*", vec![], &here).await), Cause::Guard);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_name_the_proxy_looks_up_what_cannot_be_looked_up_here() {
    let receiver = https().await;
    let proxy = ConnectProxy::start(Then::To(receiver.address())).await;
    let by_name = || Proxies {
        connect_by: ConnectBy::Name,
        ..proxies(&proxy.url())
    };
    let client = strict(&receiver.ca_pem(), &public(), by_name());
    assert_eq!(post(&client, &receiver.url("/")).await.unwrap().status, 200);
    assert_eq!(
        proxy.targets(),
        [format!("localhost:{}", receiver.address().port())]
    );
    let client = strict(&receiver.ca_pem(), &Names::default(), by_name());
    // The certificate is for another name: the tunnel was made.
    assert_eq!(
        cause(post(&client, "https://hooks.example.org/").await),
        Cause::Tls
    );
    assert_eq!(proxy.targets().last().unwrap(), "hooks.example.org:443");
    for inside in [
        "https://localhost/",
        "https://intranet/",
        "https://metadata.google.internal/",
        "https://printer.local/",
        "https://kubernetes.default.svc/",
        "https://x.localhost/",
        "https://1.1.168.192.in-addr.arpa/",
        "https://0x7f.1/",
    ] {
        let failure = post(&client, inside).await.unwrap_err();
        assert_eq!(failure.cause, Cause::Guard, "{inside}: {}", failure.error);
    }
    assert_eq!(proxy.targets().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_down_disables_no_webhook() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    let proxy = ConnectProxy::start(Then::Say("HTTP/1.1 502 Bad Gateway\r\n\r\n")).await;
    let mut hook = webhook(1, receiver.url("/"));
    hook.retry.max_attempts = 50;
    rig.webhooks.put(hook);
    // It has been failing for six days already.
    rig.db
        .client()
        .await
        .batch_execute(
            "INSERT INTO openregister_webhooks.webhook_health (webhook, revision, failures, failing_since, last_cause) \
             VALUES (1, 1, 3, now() - interval '6 days', 'status 500')",
        )
        .await
        .unwrap();
    rig.send(1, "a", 0..2).await;
    let options = Options::default();
    let metrics = options.metrics.clone();
    let client = Client::new(Outgoing {
        proxies: proxies(&proxy.url()),
        ..outgoing(&receiver.ca_pem(), Guard::new(vec![], false), &public())
    });
    let dispatcher = Dispatcher::new(
        database(&rig.db),
        database(&rig.db).pool(6).unwrap(),
        Arc::clone(&rig.webhooks) as Arc<dyn Webhooks>,
        client,
        options,
    );
    let stop = CancellationToken::new();
    let task = tokio::spawn(dispatcher.run(stop.clone()));
    let failed = "SELECT least(count(*), 3) FROM openregister_webhooks.attempt WHERE cause = 'proxy' AND error LIKE '%502%'";
    rig.until(failed, 3).await;
    // The period of failures starts again, and nothing is disabled.
    let forgiven = "SELECT count(*) FROM openregister_webhooks.webhook_health WHERE failing_since IS NULL";
    rig.until(forgiven, 1).await;
    assert_eq!(rig.webhooks.get(WebhookId(1)).unwrap().status, Status::Enabled);
    let mut registry = prometheus_client::registry::Registry::default();
    metrics.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("result=\"proxy\""), "{text}");
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(60), task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(receiver.count(), 0);
}

#[tokio::test]
async fn the_usual_variables_are_read_and_shown_without_credentials() {
    let cli = |more: &[(&str, &str)]| {
        more.iter().fold(
            Cli::new("postgres://nobody@127.0.0.1:1/none"),
            |cli, (name, value)| cli.with(name, value),
        )
    };
    let shown = cli(&[
        ("HTTPS_PROXY", "http://user:hidden@upper.example:3128"),
        ("https_proxy", "http://user:hidden@lower.example:3128"),
        ("HTTP_PROXY", "plain.example:3128"),
        ("NO_PROXY", "localhost,10.0.0.0/8"),
    ])
    .run(&["config"])
    .await;
    assert!(shown.out.contains("http://***@lower.example:3128"), "{shown:?}");
    assert!(shown.out.contains("plain.example:3128"), "{shown:?}");
    assert!(
        !shown.out.contains("hidden") && !shown.err.contains("hidden"),
        "{shown:?}"
    );
    let ours = cli(&[
        ("https_proxy", "http://lower.example:3128"),
        ("ORW_HTTPS_PROXY", "http://ours.example:3128"),
    ])
    .run(&["config"])
    .await;
    assert!(
        ours.out.contains("ours.example") && !ours.out.contains("lower.example"),
        "{ours:?}"
    );
    // Under CGI, `HTTP_PROXY` would be a header of the caller.
    let cgi = cli(&[("HTTP_PROXY", "evil.example:1"), ("REQUEST_METHOD", "GET")])
        .run(&["config"])
        .await;
    assert!(!cgi.out.contains("evil.example"), "{cgi:?}");
    let wrong = cli(&[("HTTPS_PROXY", "socks5://user:hidden@p:1"), ("NO_PROXY", "10.*")])
        .run(&["config"])
        .await;
    let said = format!("{}{}", wrong.out, wrong.err);
    assert!(
        said.contains("HTTPS_PROXY") && said.contains("NO_PROXY"),
        "{said}"
    );
    assert!(!said.contains("hidden"), "{said}");
}
