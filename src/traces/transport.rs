//! How spans reach the collector: OTLP over HTTP, protobuf, by the same client that sends webhooks, so every wait and body is bounded.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, Uri};
use ipnet::IpNet;
use opentelemetry_http::{HttpClient, HttpError};
use orw_egress::{AllowedTarget, Client, Guard, Outgoing};

/// The longest that one request may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// `ORW_OTLP_ENDPOINT`, without the path of the signal: `http://collector:4318`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    traces: String,
    host: String,
}

/// Why something is no endpoint.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "must look like http://collector:4318 or https://collector.example.org, without user, password and query: the address of a collector that takes OTLP over HTTP"
)]
pub struct BadEndpoint;

impl Endpoint {
    /// Reads it.
    ///
    /// # Errors
    /// [`BadEndpoint`].
    pub fn parse(text: &str) -> Result<Self, BadEndpoint> {
        let base = text.trim().trim_end_matches('/');
        let uri: Uri = base.parse().map_err(|_| BadEndpoint)?;
        let authority = uri.authority().ok_or(BadEndpoint)?;
        if !matches!(uri.scheme_str(), Some("http" | "https"))
            || authority.as_str().contains('@')
            || uri.query().is_some()
        {
            return Err(BadEndpoint);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        Ok(Self {
            traces: format!("{base}/v1/traces"),
            host: host.trim_end_matches('.').to_ascii_lowercase(),
        })
    }

    /// Where spans are sent.
    pub(super) fn traces(&self) -> &str {
        &self.traces
    }

    /// The administrator named this host, so it may be inside the network.
    fn guard(&self) -> Guard {
        let allowed = match self.host.parse::<std::net::IpAddr>() {
            Ok(address) => AllowedTarget::Network(IpNet::from(address)),
            Err(_) => AllowedTarget::Host(self.host.clone()),
        };
        Guard::new(vec![allowed], true)
    }
}

/// Sends what the exporter of OpenTelemetry makes.
#[derive(Debug)]
pub(super) struct Transport(Client);

impl Transport {
    pub(super) fn new(endpoint: &Endpoint, tls: rustls::ClientConfig) -> Self {
        Self(Client::new(Outgoing::new(endpoint.guard(), tls)))
    }
}

#[async_trait::async_trait]
impl HttpClient for Transport {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.0.send(request.map(Full::new), None, PATIENCE).await?;
        let mut response = Response::new(answer.body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_address_of_a_server_and_nothing_else() {
        for (text, traces, host) in [
            (
                "http://collector:4318",
                "http://collector:4318/v1/traces",
                "collector",
            ),
            (
                "https://Otel.Example.org./",
                "https://Otel.Example.org./v1/traces",
                "otel.example.org",
            ),
            (
                "http://[::1]:4318/otlp/",
                "http://[::1]:4318/otlp/v1/traces",
                "::1",
            ),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!((endpoint.traces(), endpoint.host.as_str()), (traces, host));
        }
        for text in [
            "",
            "collector:4318",
            "grpc://collector",
            "http://u:p@collector",
            "http://c/?k=v",
            "http://",
        ] {
            assert_eq!(Endpoint::parse(text), Err(BadEndpoint), "{text}");
        }
    }
}
