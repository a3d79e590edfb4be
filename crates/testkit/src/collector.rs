//! A collector of traces: a [`Receiver`] whose requests are OTLP, read by OpenTelemetry's own definitions.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::receiver::{Options, Receiver, ReceiverError};

/// A span as it arrived; ids are hexadecimal.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenSpan {
    pub name: String,
    pub trace: String,
    pub id: String,
    /// Empty if it has none.
    pub parent: String,
    /// Trace and span of each link.
    pub links: Vec<(String, String)>,
    /// Of the span, each as text.
    pub attributes: BTreeMap<String, String>,
    /// Of the program that sent it.
    pub service: BTreeMap<String, String>,
    /// 0: unset, 1: ok, 2: error.
    pub status: i32,
    /// Nanoseconds since 1970.
    pub began: u64,
    pub ended: u64,
}

/// A running collector that takes OTLP over HTTPS; it ends when it is dropped.
#[derive(Debug)]
pub struct Collector {
    /// What is behind it: it can be told to fail.
    pub receiver: Receiver,
}

impl Collector {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// If it cannot listen.
    pub async fn start() -> Result<Self, ReceiverError> {
        Receiver::start(Options::default())
            .await
            .map(|receiver| Self { receiver })
    }

    /// The base address, as a program is told it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.receiver.url("")
    }

    /// Every span that arrived, in the order of arrival.
    ///
    /// # Errors
    /// If a request is no OTLP request for traces; the text says what it is.
    pub fn spans(&self) -> Result<Vec<SeenSpan>, String> {
        let mut spans = Vec::new();
        for request in self.receiver.received() {
            if request.path != "/v1/traces" || request.header("content-type") != "application/x-protobuf" {
                return Err(format!("{} {}", request.path, request.header("content-type")));
            }
            let decoded =
                ExportTraceServiceRequest::decode(request.body).map_err(|error| error.to_string())?;
            for resource in decoded.resource_spans {
                let service = texts(resource.resource.unwrap_or_default().attributes);
                let scopes = resource.scope_spans.into_iter();
                spans.extend(
                    scopes
                        .flat_map(|scope| scope.spans)
                        .map(|span| seen(span, &service)),
                );
            }
        }
        Ok(spans)
    }
}

fn seen(span: Span, service: &BTreeMap<String, String>) -> SeenSpan {
    let links = span
        .links
        .iter()
        .map(|link| (hex(&link.trace_id), hex(&link.span_id)));
    SeenSpan {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        links: links.collect(),
        attributes: texts(span.attributes),
        service: service.clone(),
        status: span.status.map(|status| status.code).unwrap_or_default(),
        began: span.start_time_unix_nano,
        ended: span.end_time_unix_nano,
        name: span.name,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        other => format!("{other:?}"),
    };
    attributes
        .into_iter()
        .map(|pair| (pair.key, text(pair.value)))
        .collect()
}
