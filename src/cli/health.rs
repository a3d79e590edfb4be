//! `health`: whether the sidecar on this machine does its work, as an exit code, for health checks of containers.
//!
//! Guarantees: it needs no secret and no database; it ends within [`PATIENCE`]; it prints at most one line of what was answered.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::args::SettingsArgs;
use super::output;
use crate::config::metrics_listener;

/// How long everything may take together. Health checks of containers usually wait for longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most of an answer that is read, in bytes.
const LONGEST: usize = 4096;
/// Nobody answers: the process does not run, or hangs.
const NO_ANSWER: u8 = 3;

const EXIT_CODES: &str = "Exit codes: 0 it does its work (with --live: it answers); 1 it runs, but does not do its work, and the line \
     printed says why; 2 the settings are wrong; 3 it does not answer";

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct HealthArgs {
    /// Ask only whether the process answers, not whether it does its work: to restart one that hangs
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn run(args: HealthArgs) -> anyhow::Result<ExitCode> {
    let address = match metrics_listener(&args.settings.sources()) {
        Ok(address) => reachable(address),
        Err(error) => {
            let failure = error.into();
            output::print_failure(&failure);
            return Ok(failure.code());
        }
    };
    let path = if args.live { "/healthz" } else { "/readyz" };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, ask(address, path)).await });
    let (line, code) = match answer {
        Ok(Ok((StatusCode::OK, line))) => (line, 0),
        Ok(Ok((_, line))) => (line, 1),
        Ok(Err(error)) => (
            format!("no answer from http://{address}{path}: {error}"),
            NO_ANSWER,
        ),
        Err(_) => (
            format!(
                "no answer from http://{address}{path} within {} s",
                PATIENCE.as_secs()
            ),
            NO_ANSWER,
        ),
    };
    output::say(line);
    Ok(ExitCode::from(code))
}

/// The address by which this machine reaches a listener: one that listens everywhere listens on loopback, too.
const fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

/// The status, and the first line of the answer.
async fn ask(address: SocketAddr, path: &str) -> anyhow::Result<(StatusCode, String)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path)
        .header(hyper::header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST)
        .collect()
        .await
        .map_err(|error| anyhow::anyhow!("the answer cannot be read: {error}"))?;
    connection.abort();
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    Ok((status, text.lines().next().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_everywhere_is_asked_on_loopback() {
        let of = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(of("0.0.0.0:9650"), "127.0.0.1:9650");
        assert_eq!(of("[::]:9650"), "[::1]:9650");
        assert_eq!(of("192.0.2.7:9650"), "192.0.2.7:9650");
    }
}
