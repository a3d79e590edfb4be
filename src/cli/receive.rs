//! `receive`: a receiver on this machine, to try webhooks with.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};

use super::{given, output};
use crate::delivery::{verify, verify_legacy};
use crate::registry::{Fields, parse_secret};
use crate::terminal::{Json, Line};
use orw_testkit::receiver::{Answer, Options, Received, Receiver, ReceiverError};

#[derive(Debug, Args)]
pub(super) struct ReceiveArgs {
    /// The port to listen on; 0 for any free one
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// The address to listen on; 0.0.0.0 for all
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// The webhook's signing secret, or `@FILE` with it; with it, each signature is checked
    #[arg(
        long,
        env = "ORW_RECEIVE_SECRET",
        hide_env_values = true,
        value_name = "whsec_…|@FILE"
    )]
    secret: Option<String>,
    /// Speak HTTPS, with a certificate of an authority that is made for this run
    #[arg(long)]
    tls: bool,
    /// Write the certificate of that authority to this file, for ORW_CA_FILE
    #[arg(long, requires = "tls", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The status to answer with: 200, or a failure, to see how it is retried
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..=599))]
    status: u16,
    /// Print one line for each event, without its body
    #[arg(long)]
    brief: bool,
}

pub(super) fn run(args: ReceiveArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(receive(args))
}

async fn receive(args: ReceiveArgs) -> anyhow::Result<ExitCode> {
    let address = SocketAddr::new(args.address, args.port);
    let mut terminate = signal(SignalKind::terminate())?;
    let options = Options {
        address,
        tls: args.tls,
        ..Options::default()
    };
    let secret = match args.secret.as_deref().map(secret).transpose() {
        Ok(secret) => secret,
        Err(reason) => {
            output::note(format_args!("error: {reason}"));
            return Ok(ExitCode::from(2));
        }
    };
    let receiver = Receiver::start(options).await.map_err(|error| {
        let ReceiverError::Listen { source, .. } = &error else {
            return anyhow::Error::new(error);
        };
        let next = match source.kind() {
            ErrorKind::AddrInUse => {
                "another program listens there; choose another port with --port, or 0 for any free one"
            }
            ErrorKind::PermissionDenied => "ports below 1024 belong to root; choose another with --port",
            ErrorKind::AddrNotAvailable => {
                "this machine does not have that address; choose another with --address"
            }
            _ => "choose another port with --port",
        };
        anyhow::anyhow!("cannot listen on {address} ({source}): {next}")
    })?;
    let brief = args.brief;
    let status = args.status;
    receiver.decide(move |received| {
        output::page(describe(received, secret.as_ref(), brief));
        Answer::Status(status)
    });
    if let Some(path) = &args.ca_file {
        std::fs::write(path, receiver.ca_pem())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let hint = match (&args.ca_file, args.tls) {
        (Some(path), _) => format!("ORW_CA_FILE={}", path.display()),
        (None, true) => "--ca-file FILE, and ORW_CA_FILE=FILE".to_owned(),
        (None, false) => "ORW_TARGETS_ALLOW_HTTP=true".to_owned(),
    };
    output::note(format_args!("listening on {}", receiver.url("/")));
    output::note(format_args!(
        "the sidecar needs: ORW_TARGETS_ALLOW={} {hint}",
        args.address
    ));
    output::note("stop with Ctrl-C");
    let mut arrivals = receiver.arrivals();
    loop {
        tokio::select! {
            changed = arrivals.changed() => {
                changed?;
                // What was printed need not be kept.
                receiver.forget();
            }
            stopped = tokio::signal::ctrl_c() => {
                stopped?;
                return Ok(ExitCode::SUCCESS);
            }
            // The first process of a container gets no signal that it does not ask for.
            _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// The secret that signatures are checked with, given as it is or as `@FILE`.
fn secret(given: &str) -> Result<SecretString, String> {
    given::text(given)
        .map_err(|failure| failure.to_string())
        .and_then(|text| checked(text.trim()))
}

/// A signing secret, as registering a webhook shows it. The message does not repeat what was given.
fn checked(secret: &str) -> Result<SecretString, String> {
    let mut fields = Fields::default();
    fields.or_insert("secret", || secret.into());
    let next = "give what registering the webhook, or `webhook rotate-secret`, showed: whsec_…";
    match parse_secret(&fields) {
        Ok(Some(secret)) => Ok(secret),
        Ok(None) => Err(format!("--secret is no signing secret; {next}")),
        Err(refused) => Err(format!("--secret is no signing secret ({refused}); {next}")),
    }
}

/// An event, for people to read.
fn describe(received: &Received, secret: Option<&SecretString>, brief: bool) -> String {
    let body = received.json();
    let event = match &body["event"] {
        serde_json::Value::String(name) => name.rsplit('\\').next().unwrap_or(name),
        _ => "(no event named)",
    };
    let signed = (
        received.header("webhook-id"),
        received.header("webhook-timestamp"),
        received.header("webhook-signature"),
    );
    let signature = match secret {
        None if signed.2.is_empty() => "not signed".to_owned(),
        None => "signature not checked (give --secret)".to_owned(),
        Some(secret) => match verify(secret, signed, &received.body, received.at.timestamp()) {
            Ok(()) => "signature good".to_owned(),
            Err(why) => format!("SIGNATURE BAD: {why}"),
        },
    };
    let legacy = match (secret, received.header("x-webhook-signature")) {
        (_, "") | (None, _) => "",
        (Some(secret), given) => match verify_legacy(secret, given, &received.body) {
            Ok(()) => ", X-Webhook-Signature good",
            Err(_) => ", X-WEBHOOK-SIGNATURE BAD",
        },
    };
    let attempt = match received.header("orw-attempt") {
        "" | "1" => String::new(),
        n => format!("  attempt {n}"),
    };
    let line = format!(
        "{}  {} {}  {event}  {}{attempt}  {signature}{legacy}",
        received.at.format("%H:%M:%S%.3f"),
        received.method,
        received.path,
        if signed.0.is_empty() {
            "(no webhook-id)"
        } else {
            signed.0
        },
    );
    let line = output::broken(line, 4);
    match &body {
        _ if brief => line,
        serde_json::Value::Null => {
            let body = String::from_utf8_lossy(&received.body);
            format!("{line}\n{}", Line(body))
        }
        body => format!("{line}\n{:#}", Json(body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::{legacy_signature, signatures};
    use hyper::{HeaderMap, Method, Version};

    fn received(body: &str, headers: &[(&'static str, &str)]) -> Received {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Received {
            number: 0,
            connection: 0,
            version: Version::HTTP_11,
            method: Method::POST,
            path: "/hook".into(),
            headers: map,
            body: body.to_owned().into(),
            at: chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            instant: std::time::Instant::now(),
            answer: Answer::Status(200),
        }
    }

    #[test]
    fn says_whether_the_signature_is_good() {
        let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = r#"{"event":"OCA\\OpenRegister\\Event\\ObjectCreatedEvent","data":{}}"#;
        let signature = signatures(
            std::slice::from_ref(&secret),
            "evt_1",
            1_700_000_000,
            body.as_bytes(),
        )
        .unwrap();
        let headers = [
            ("webhook-id", "evt_1"),
            ("webhook-timestamp", "1700000000"),
            ("webhook-signature", signature.as_str()),
        ];
        let good = describe(&received(body, &headers), Some(&secret), true);
        assert_eq!(
            good,
            "22:13:20.000  POST /hook  ObjectCreatedEvent  evt_1  signature good"
        );
        let bad = describe(&received("{}", &headers), Some(&secret), true);
        assert!(bad.contains("SIGNATURE BAD"), "{bad}");
        let legacy = legacy_signature(&secret, body.as_bytes()).unwrap();
        let headers = [&headers[..], &[("x-webhook-signature", legacy.as_str())]].concat();
        let good = describe(&received(body, &headers), Some(&secret), true);
        assert!(
            good.ends_with("signature good, X-Webhook-Signature good"),
            "{good}"
        );
        let bad = describe(&received("{}", &headers), Some(&secret), true);
        assert!(bad.ends_with(", X-WEBHOOK-SIGNATURE BAD"), "{bad}");
    }

    #[test]
    fn a_body_cannot_move_the_cursor() {
        let text = describe(&received("\u{1b}[2J\0", &[]), None, false);
        assert!(!text.contains('\u{1b}') && !text.contains('\0'), "{text:?}");
        let text = describe(
            &received("{\"event\":\"\\u001b[2J\",\"x\":\"\u{9b}2J\"}", &[]),
            None,
            false,
        );
        assert!(!text.contains(['\u{1b}', '\u{9b}']), "{text:?}");
    }
}
