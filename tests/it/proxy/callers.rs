//! Who may manage webhooks: Nextcloud decides, with the caller's own credentials, now or at most half a minute ago.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use openregister_webhooks::ocs::{Authenticator, Clock, NextcloudAccounts};
use serde_json::{Value, json};

use super::{LISTENERS, OURS, OWN};
use crate::support::api::{Answer, Service, Setup, proxy_to};
use crate::support::nextcloud::Nextcloud;

/// A clock that tests set.
#[derive(Clone, Default)]
struct Hands(Arc<Mutex<Duration>>);

impl Hands {
    fn forward(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }

    fn clock(&self) -> Clock {
        let (begun, moved) = (Instant::now(), Arc::clone(&self.0));
        Arc::new(move || begun + *moved.lock().unwrap())
    }
}

async fn at_hands(nextcloud: &Nextcloud, hands: &Hands) -> Service {
    let proxy = proxy_to(&nextcloud.url(), Duration::from_secs(60));
    let callers = NextcloudAccounts::with_clock(proxy, hands.clock()).unwrap();
    Service::start_with(Setup {
        authenticator: Authenticator::Nextcloud(Arc::new(callers)),
        trusted_proxies: Vec::new(),
        tls: None,
    })
    .await
}

fn registration() -> Value {
    json!({"httpMethod": "POST", "uri": "https://example.com/webhook", "event": OURS})
}

fn code(answer: &Answer) -> Value {
    answer.json()["ocs"]["meta"]["statuscode"].clone()
}

/// Every route of the document that is answered here, as method and path.
fn routes(id: i64) -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            if method != "parameters" && !path.contains("/cloud/") {
                let path = path.replace("{id}", &id.to_string()).replace("{appid}", "app");
                all.push((method.to_uppercase(), path));
            }
        }
    }
    all
}

#[tokio::test]
async fn nobody_who_may_not_reads_or_changes_anything() {
    let nextcloud = Nextcloud::start().await;
    let service = Service::before(&nextcloud).await;
    let made = service
        .admin("POST", LISTENERS)
        .json(&registration())
        .send()
        .await;
    let id = made.data()["id"].as_i64().unwrap();
    let before = service.registry.snapshot().revision();
    let routes = routes(id);
    assert!(routes.len() >= 20, "{}", routes.len());
    for (method, path) in &routes {
        let ask = || {
            let asked = service.request(method, path).header("OCS-APIRequest", "true");
            asked.header("Accept", "application/json").json(&registration())
        };
        let nobody = ask().send().await;
        assert_eq!(
            (nobody.status, code(&nobody)),
            (401, json!(997)),
            "{method} {path}"
        );
        let expired = ask().header("Cookie", "nc_session=expired").send().await;
        assert_eq!(
            (expired.status, code(&expired)),
            (401, json!(997)),
            "{method} {path}"
        );
        let user = ask().basic("bob", "bob-password").send().await;
        let status = if path.contains("v1.php") { 200 } else { 403 };
        assert_eq!(
            (user.status, code(&user)),
            (status, json!(403)),
            "{method} {path}"
        );
        assert_eq!(user.data(), json!([]));
        for bare in [
            service.request(method, path).basic("admin", "admin-password"),
            service
                .request(method, path)
                .header("Cookie", Nextcloud::SESSION.0),
        ] {
            let answer = bare.json(&registration()).send().await;
            assert_eq!(answer.status, 412, "{method} {path} without OCS-APIRequest");
        }
    }
    assert_eq!(service.registry.refresh().await.unwrap().revision(), before);
}

/// A separate test, because wrong credentials trigger the throttle.
#[tokio::test]
async fn wrong_credentials_are_refused_on_every_route_and_slowed_down() {
    let nextcloud = Nextcloud::start().await;
    let service = Service::before(&nextcloud).await;
    assert_eq!(service.admin("GET", LISTENERS).send().await.status, 200);
    let mut refused = (0, 0);
    for (method, path) in routes(1_000_000_000) {
        for (user, password) in [("admin", "wrong"), ("nobody", "wrong")] {
            let asked = service
                .request(&method, &path)
                .basic(user, password)
                .header("OCS-APIRequest", "true");
            let asked = asked.header("Accept", "application/json").json(&registration());
            let answer = asked.send().await;
            match code(&answer).as_u64() {
                Some(997) => {
                    refused.0 += 1;
                    assert_eq!(answer.json()["ocs"]["meta"]["message"], "Unauthorised");
                    assert_eq!(
                        answer.header("www-authenticate"),
                        "Basic realm=\"Authorisation Required\""
                    );
                }
                Some(429) => {
                    refused.1 += 1;
                    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
                }
                other => panic!("{method} {path}: {other:?}"),
            }
        }
    }
    assert!(refused.0 >= 40, "{refused:?}");
    while refused.1 == 0 {
        let asked = service
            .request("GET", LISTENERS)
            .header("Authorization", "Bearer wrong");
        if asked.header("OCS-APIRequest", "true").send().await.status == 429 {
            refused.1 += 1;
        }
    }
    // Nothing wrong was remembered: each was asked anew. Whoever is known to be right is still let in.
    nextcloud.take_seen();
    assert_eq!(
        service.admin("GET", &format!("{OWN}/events")).send().await.status,
        200
    );
    assert!(nextcloud.take_seen().is_empty());
}

#[tokio::test]
async fn all_that_nextcloud_takes_is_taken() {
    let nextcloud = Nextcloud::start().await;
    let service = Service::before(&nextcloud).await;
    let own = format!("{OWN}/webhooks");
    let ask = |headers: &[(&str, &str)]| {
        let mut asked = service.request("GET", &own).header("Accept", "application/json");
        for (name, value) in headers {
            asked = asked.header(name, value);
        }
        asked
    };
    let bearer = format!("Bearer {}", Nextcloud::BEARER);
    let (cookie, token) = Nextcloud::SESSION;
    let api = ("OCS-APIRequest", "true");
    assert_eq!(ask(&[("Authorization", &bearer)]).send().await.status, 200);
    nextcloud.take_seen();
    let session = ask(&[("Cookie", cookie), ("requesttoken", token), api])
        .header("User-Agent", "browser")
        .send()
        .await;
    assert_eq!(session.status, 200, "{}", session.text);
    // Cookies that Nextcloud renews reach the browser.
    assert_eq!(session.header("set-cookie"), "nc_token=renewed; HttpOnly");
    let seen = nextcloud.take_seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let header = |name| seen[0].header(name).to_owned();
    assert_eq!(
        (header("cookie"), header("requesttoken"), header("user-agent")),
        (cookie.to_owned(), token.to_owned(), "browser".to_owned())
    );
    assert_eq!(header("x-forwarded-for"), "127.0.0.1");
    assert_eq!(header("ocs-apirequest"), "true");
    // A page of somebody else's can send the cookie, not the header: remembered or not, it is not let in.
    assert_eq!(ask(&[("Cookie", cookie)]).send().await.status, 412);
    // What Nextcloud's own pages send is asked about as it came, and taken where Nextcloud takes it.
    let page = ask(&[("Cookie", cookie), ("requesttoken", token)]).send().await;
    assert_eq!(page.status, 200, "{}", page.text);
    let disable = format!("{own}/1000000000/disable");
    for (token, status) in [(token, 404), ("another", 412), (token, 404)] {
        let post = service.request("POST", &disable).header("Cookie", cookie);
        let post = post.header("requesttoken", token).send().await;
        assert_eq!(post.status, status, "{}", post.text);
    }
    // A wrong token is still refused if it came with OCS-APIRequest a moment ago.
    let wrong = [("Cookie", cookie), ("requesttoken", "another")];
    assert_eq!(ask(&[&wrong[..], &[api]].concat()).send().await.status, 200);
    assert_eq!(ask(&wrong).send().await.status, 412);
    // The sidecar did not add the header for them.
    let seen = nextcloud.take_seen();
    let with = seen
        .iter()
        .filter(|seen| !seen.header("ocs-apirequest").is_empty());
    assert_eq!(with.count(), 1, "{seen:?}");
}

#[tokio::test]
async fn a_good_answer_is_remembered_for_half_a_minute_and_for_nothing_else() {
    let nextcloud = Nextcloud::start().await;
    let hands = Hands::default();
    let service = at_hands(&nextcloud, &hands).await;
    let own = format!("{OWN}/webhooks");
    let ask = async || service.admin("GET", &own).send().await.status;
    assert_eq!(ask().await, 200);
    assert_eq!(nextcloud.take_seen().len(), 1);
    assert_eq!(ask().await, 200);
    assert_eq!(nextcloud.take_seen().len(), 0);
    // Other credentials are another question, and so is another token beside the same ones.
    service
        .admin("GET", &own)
        .header("requesttoken", "x")
        .send()
        .await;
    assert_eq!(nextcloud.take_seen().len(), 1);
    // Rights that are withdrawn end within the time.
    nextcloud.mood(|mood| mood.admins.clear());
    hands.forward(Duration::from_millis(29_900));
    assert_eq!(ask().await, 200);
    hands.forward(Duration::from_millis(200));
    assert_eq!(ask().await, 403);
    assert_eq!(ask().await, 403);
    assert_eq!(nextcloud.take_seen().len(), 2, "a refusal is not remembered");
    nextcloud.mood(|mood| mood.admins.push("admin".to_owned()));
    assert_eq!(ask().await, 200);
    // And so does a password that was changed.
    nextcloud.set_password("admin", "another");
    hands.forward(Duration::from_secs(30));
    assert_eq!(ask().await, 401);
    nextcloud.set_password("admin", "admin-password");
    assert_eq!(ask().await, 200);
    // A list asks Nextcloud in any case, and what it learns holds at once.
    nextcloud.set_password("admin", "another");
    assert_eq!(ask().await, 200);
    assert_eq!(service.admin("GET", LISTENERS).send().await.status, 401);
    assert_eq!(ask().await, 401);
}

#[tokio::test]
async fn many_at_once_are_one_question() {
    let nextcloud = Nextcloud::start().await;
    let service = Arc::new(Service::before(&nextcloud).await);
    nextcloud.mood(|mood| mood.delay = Duration::from_secs(2));
    let own = format!("{OWN}/webhooks");
    let asking: Vec<_> = (0..80)
        .map(|_| {
            let (service, own) = (Arc::clone(&service), own.clone());
            tokio::spawn(async move { service.admin("GET", &own).send().await.status })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), 200);
    }
    assert_eq!(nextcloud.take_seen().len(), 1);
}

#[tokio::test]
async fn without_the_app_the_administrators_group_decides() {
    let nextcloud = Nextcloud::start().await;
    nextcloud.mood(|mood| {
        mood.app = false;
        mood.names_user = false;
    });
    let service = Service::before(&nextcloud).await;
    let made = service
        .admin("POST", LISTENERS)
        .json(&registration())
        .send()
        .await;
    assert_eq!((made.status, &made.data()["userId"]), (200, &json!("admin")));
    let bob = service.request("GET", LISTENERS).basic("bob", "bob-password");
    assert_eq!(bob.header("OCS-APIRequest", "true").send().await.status, 403);
    let listed = service.admin("GET", LISTENERS).send().await;
    let message = listed.json()["ocs"]["meta"]["message"].clone();
    assert!(
        message.as_str().unwrap().contains("not enabled in Nextcloud"),
        "{message}"
    );
    assert_eq!(listed.data().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_user_who_is_not_named_is_asked_for() {
    let nextcloud = Nextcloud::start().await;
    nextcloud.mood(|mood| mood.names_user = false);
    let service = Service::before(&nextcloud).await;
    let made = service
        .admin("POST", LISTENERS)
        .json(&registration())
        .send()
        .await;
    assert_eq!(made.data()["userId"], "admin");
}

#[tokio::test]
async fn an_external_app_is_named_where_its_secret_was_checked() {
    let nextcloud = Nextcloud::start().await;
    let service = Service::before(&nextcloud).await;
    let (app, secret) = Nextcloud::APP;
    let register = async |headers: &[(&str, &str)]| {
        let mut asked = service
            .request("POST", LISTENERS)
            .header("OCS-APIRequest", "true")
            .header("Accept", "application/json");
        for (name, value) in headers {
            asked = asked.header(name, value);
        }
        let answer = asked.json(&registration()).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.data()["appId"].clone()
    };
    let basic = ("Authorization", "Basic YWRtaW46YWRtaW4tcGFzc3dvcmQ=");
    let right = [("EX-APP-ID", app), ("AUTHORIZATION-APP-API", secret)];
    let wrong = [("EX-APP-ID", app), ("AUTHORIZATION-APP-API", "d3Jvbmc=")];
    assert_eq!(register(&right).await, app);
    // The password lets the caller in, so it says nothing of the app.
    assert_eq!(register(&[&wrong[..], &[basic]].concat()).await, json!(null));
    assert_eq!(register(&[("EX-APP-ID", app), basic]).await, json!(null));
    // Of two names Nextcloud may have checked either.
    assert_eq!(
        register(&[&right[..], &[("EX-APP-ID", "another")]].concat()).await,
        json!(null)
    );
    // Both are right: for example, the app's client kept a cookie.
    let cookie = ("Cookie", Nextcloud::SESSION.0);
    assert_eq!(register(&[&right[..], &[cookie]].concat()).await, app);
}

#[tokio::test]
async fn nextcloud_is_told_the_client_whatever_the_client_says() {
    let nextcloud = Nextcloud::start().await;
    let service = Service::before_trusting(&nextcloud, &["127.0.0.0/8"]).await;
    for (path, credentials) in [
        ("/echo", String::new()),
        (OWN, format!("Authorization: Bearer {}\r\n", Nextcloud::BEARER)),
    ] {
        for connection in ["close", "close, X-Forwarded-For, X-Forwarded-Proto"] {
            // A trusted proxy adds to what the client sent: here a byte that is no text.
            let mut request = format!(
                "GET {path}/events HTTP/1.1\r\nHost: c\r\nConnection: {connection}\r\nX-Forwarded-Proto: https\r\n\
                 OCS-APIRequest: true\r\n{credentials}X-Forwarded-For: "
            )
            .into_bytes();
            request.extend(b"\xff, 198.51.100.7\r\n\r\n");
            let mut raw = super::raw::Raw::connect(service.address).await;
            raw.send(request).await;
            let answer = raw.rest().await;
            assert_eq!(super::raw::status(&answer), 200, "{answer}");
        }
    }
    let seen = nextcloud.take_seen();
    // The question about the caller's credentials is remembered.
    assert_eq!(seen.len(), 3, "{seen:?}");
    for seen in seen {
        let forwarded = seen.headers["x-forwarded-for"].as_bytes();
        assert!(forwarded.ends_with(b"198.51.100.7, 127.0.0.1"), "{seen:?}");
        assert_eq!(seen.header("x-forwarded-proto"), "https");
    }
    // And the throttle counts that client.
    let wrong = async |client: &str| {
        let asked = service
            .request("GET", &format!("{OWN}/events"))
            .basic("admin", "wrong");
        let asked = asked.header("X-Forwarded-For", client);
        asked.header("OCS-APIRequest", "true").send().await.status
    };
    while wrong("198.51.100.8").await != 429 {}
    assert_eq!(wrong("198.51.100.9").await, 401);
}
