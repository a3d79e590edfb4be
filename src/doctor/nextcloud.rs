//! Whether Nextcloud answers, if `ORW_NEXTCLOUD_URL` is set.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::Value;

use super::finding::Finding;
use crate::config::Settings;
use crate::error_text::chain;
use crate::proxy::{Arrival, BufferedResponse, Proxy, ProxyError, Upstream};

const CHECK: &str = "nextcloud";

/// Whether Nextcloud answers at `ORW_NEXTCLOUD_URL`; no finding if the setting has no value.
pub(super) async fn check(settings: &Settings) -> Vec<Finding> {
    let Some(url) = &settings.nextcloud_url else {
        return Vec::new();
    };
    let what = || format!("Nextcloud does not answer at {url}");
    let finding = match ask(settings, url).await {
        Ok(answered) => judge(url, &answered),
        Err(error) => Finding::error(
            CHECK,
            what(),
            error,
            "check that Nextcloud runs, that ORW_NEXTCLOUD_URL is its own address as seen from this machine, \
             and, with https, that its certificate is valid for that name (ORW_CA_FILE names an authority of your own)",
        ),
    };
    vec![finding]
}

async fn ask(settings: &Settings, url: &str) -> Result<BufferedResponse, String> {
    let tls = orw_egress::client_config(settings.ca_file.as_deref()).map_err(|error| chain(&error))?;
    let upstream = Upstream::new(url, tls, settings.connect_timeout, settings.nextcloud_timeout)
        .map_err(|error| error.to_string())?;
    let host = HeaderValue::from_str(upstream.authority()).map_err(|error| error.to_string())?;
    let proxy = Proxy::new(Arc::new(upstream)).map_err(|error| chain(&error))?;
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let arrival = Arrival {
        client: here,
        peer: here,
        trusted: false,
        secure: false,
    };
    let asked = proxy.fetch(Method::GET, "/status.php", HeaderMap::new(), host, arrival);
    // The cause, not the text for clients.
    asked.await.map_err(|error| match &error {
        ProxyError::Away { source } | ProxyError::Broken { source } => chain(&**source),
        other => other.to_string(),
    })
}

fn judge(url: &str, answered: &BufferedResponse) -> Finding {
    let status: Value = serde_json::from_slice(&answered.body).unwrap_or_default();
    let version = status["versionstring"].as_str();
    match (answered.status, version) {
        (StatusCode::LOOP_DETECTED, _) => Finding::error(
            CHECK,
            format!("{url} leads back to the sidecar"),
            "requests to Nextcloud would never leave the sidecar",
            "set ORW_NEXTCLOUD_URL to the address of Nextcloud's own web server",
        ),
        (StatusCode::OK, Some(version)) => found(url, version, &status),
        (status, _) => Finding::error(
            CHECK,
            format!("{url} is not a Nextcloud"),
            format!("its /status.php answers {status} and names no version"),
            "set ORW_NEXTCLOUD_URL to Nextcloud's own address, including the path below which it is installed",
        ),
    }
}

/// The finding about a Nextcloud that answers.
fn found(url: &str, version: &str, status: &Value) -> Finding {
    const CLOSED: &str = "nobody can log in, so nobody can register webhooks; deliveries go on";
    let says = |flag: &str| status[flag] == true;
    let answers = format!("Nextcloud {version} answers at {url}");
    if status["installed"] == false {
        return Finding::error(
            CHECK,
            format!("{answers}, but it is not set up"),
            "its /status.php says installed: false, so it has no users and no tables",
            "finish its installation (occ maintenance:install), or set ORW_NEXTCLOUD_URL to the right Nextcloud",
        );
    }
    match (says("maintenance"), says("needsDbUpgrade")) {
        (false, false) => Finding::ok(CHECK, answers),
        (true, false) => Finding::warning(
            CHECK,
            format!("{answers}, in maintenance mode"),
            CLOSED,
            "when the work is done: occ maintenance:mode --off",
        ),
        (false, true) => Finding::warning(
            CHECK,
            format!("{answers}, and waits for its upgrade (needsDbUpgrade)"),
            CLOSED,
            "occ upgrade, then run doctor again: tables may have changed",
        ),
        (true, true) => Finding::warning(
            CHECK,
            format!("{answers}, in maintenance mode, and waits for its upgrade (needsDbUpgrade)"),
            CLOSED,
            "wait until the upgrade has finished, or run occ upgrade; then occ maintenance:mode --off, and run doctor again",
        ),
    }
}
