//! The flags of `webhook add` and `webhook update`: the fields of a registration.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use crate::catalogue;
use crate::cli::failure::Failure;
use crate::cli::{confirm, given, output};
use crate::registry::{Fields, MASK, Webhook};
use crate::template::Template;
use orw_model::EventClass;

/// The flags; each is a field of the API. A value that starts with `@` is read from that file, so that no secret has to be on the
/// command line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(super) struct WebhookFlags {
    /// Where to send: an https:// URL
    #[arg(long)]
    uri: Option<String>,
    /// An event such as `OCA\OpenRegister\Event\ObjectCreatedEvent`, its short name, or a pattern such as `Object*`
    #[arg(long)]
    event: Option<String>,
    /// GET, POST, PUT, PATCH or DELETE [default: POST]
    #[arg(long)]
    method: Option<String>,
    /// The conditions that an event must fulfil, as JSON, or @FILE
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// Only events that this user caused
    #[arg(long, value_name = "USER")]
    user_id_filter: Option<String>,
    /// A header to send; may be given more than once
    #[arg(long, value_name = "NAME=VALUE")]
    header: Vec<String>,
    /// A header with a credential, such as Authorization=@FILE; may be given more than once
    #[arg(long, value_name = "NAME=VALUE")]
    auth: Vec<String>,
    /// The shape of the body
    #[arg(long, value_parser = ["documented", "nextcloud", "cloudevents", "openregister", "nlgov", "zgw", "template"])]
    format: Option<String>,
    /// How much of an entity the body tells: full, or reference (ids, class and time, no personal data)
    #[arg(long, value_name = "MODE", value_parser = ["full", "reference"])]
    data_mode: Option<String>,
    /// The text of the body for the format template, or @FILE; `filter check --template` tries one
    #[arg(long, value_name = "TEXT")]
    template: Option<String>,
    /// For the format zgw: {"kanaal", "resourceUrl", "hoofdObject", "resource", "kenmerken"} as JSON, or @FILE
    #[arg(long, value_name = "JSON")]
    zgw: Option<String>,
    /// For the format nlgov: {"type", "mode", "dataref", "dataschema"} as JSON, or @FILE
    #[arg(long, value_name = "JSON")]
    nlgov: Option<String>,
    /// Send a JSON web token that is made for every request: the receiver's name for this client
    #[arg(long, value_name = "ID", requires = "jwt_secret", conflicts_with = "auth")]
    jwt_client_id: Option<String>,
    /// The secret that signs the tokens (HS256), or @FILE
    #[arg(long, value_name = "SECRET", requires = "jwt_client_id")]
    jwt_secret: Option<String>,
    /// The signing secret, whsec_…, @FILE, or `generate`
    #[arg(long)]
    secret: Option<String>,
    /// Client certificate (and its chain), PEM, for receivers that demand one
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// The private key of the client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// Present no client certificate any more
    #[arg(long, conflicts_with = "client_cert")]
    no_client_cert: bool,
    /// Send X-Webhook-Signature too, as OpenRegister's own webhooks do: true or false
    #[arg(long, value_name = "BOOLEAN")]
    legacy_signature: Option<bool>,
    /// Report gaps in what was captured, as an event openregister-webhooks.gap: true or false
    #[arg(long, value_name = "BOOLEAN")]
    gap_events: Option<bool>,
    /// Ask the receiver first whether it allows requests from this origin, a DNS name (webhook handshake of CloudEvents)
    #[arg(long, value_name = "ORIGIN")]
    handshake: Option<String>,
    /// The rate to ask for in the handshake
    #[arg(long, value_name = "PER_MINUTE", requires = "handshake")]
    handshake_rate: Option<u32>,
    /// Ask the receiver no more
    #[arg(long, conflicts_with = "handshake")]
    no_handshake: bool,
    /// Requests per second
    #[arg(long, value_name = "NUMBER")]
    rate: Option<u32>,
    /// How many requests may be sent at once before the rate applies
    #[arg(long, value_name = "NUMBER")]
    burst: Option<u32>,
    /// Timeout of the whole request
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// How many requests may be in flight
    #[arg(long, value_name = "NUMBER")]
    in_flight: Option<u32>,
    /// object (the events of one object wait for each other) or none
    #[arg(long)]
    ordering: Option<String>,
    /// The first attempt and the retries, in all
    #[arg(long, value_name = "NUMBER")]
    max_attempts: Option<u32>,
    /// The delays after failed attempts, in seconds or with a unit: 5,30 or 5s,30s,2m,1h
    #[arg(long, value_name = "SECONDS,…", value_delimiter = ',', value_parser = seconds)]
    schedule: Vec<u32>,
}

const NAMESPACE: &str = r"OCA\OpenRegister\Event\";

impl WebhookFlags {
    /// These flags, with the address and the event that the person at the terminal was asked for if a flag does not name them. Without a
    /// terminal nothing is asked.
    pub(super) fn asked(&self) -> Result<Self, Failure> {
        let mut flags = self.clone();
        if (flags.uri.is_some() && flags.event.is_some()) || !confirm::can_ask() {
            return Ok(flags);
        }
        if flags.uri.is_none() {
            flags.uri = Some(confirm::text("Where to send (an https:// URL)", None)?);
        }
        while flags.event.is_none() {
            let answer = confirm::text(
                "Which event (a name such as ObjectCreatedEvent, a pattern such as Object*, or ? for the list)",
                Some("Object*"),
            )?;
            if answer == "?" {
                for class in EventClass::all() {
                    output::note(format_args!("  {class:<28}  {}", catalogue::when(class)));
                }
            } else {
                flags.event = Some(answer);
            }
        }
        if flags.filter.is_none() {
            let answer = confirm::text("A filter as JSON, or nothing for all events", Some(""))?;
            flags.filter = Some(answer).filter(|filter| !filter.is_empty());
        }
        Ok(flags)
    }

    /// The fields of a request. Fields without a flag are as in `known`, or left out.
    pub(super) fn fields(&self, known: Option<&Webhook>) -> Result<Fields, Failure> {
        if known.is_some() && *self == Self::default() {
            return Err(Failure::Usage(
                "there is nothing to change; `webhook update --help` lists what can be changed".to_owned(),
            ));
        }
        if known.is_none() && (self.uri.is_none() || self.event.is_none()) {
            return Err(Failure::Usage(
                "a webhook needs --uri and --event; `openregister-webhooks events` lists the events"
                    .to_owned(),
            ));
        }
        let mut fields = Map::new();
        if let Some(known) = known {
            fields.insert("httpMethod".into(), known.http_method.clone().into());
            fields.insert("uri".into(), known.uri.clone().into());
            fields.insert("event".into(), known.event.as_str().into());
            fields.insert("eventFilter".into(), known.event_filter.clone());
            fields.insert("userIdFilter".into(), known.user_id_filter.clone().into());
            fields.insert("tokenNeeded".into(), known.token_needed.clone());
            let (method, names) = known.auth.stored();
            if !names.is_empty() {
                let masked: Map<_, _> = names
                    .into_iter()
                    .map(|name| (name.to_owned(), MASK.into()))
                    .collect();
                fields.insert("authMethod".into(), method.as_str().into());
                fields.insert("authData".into(), masked.into());
            }
        } else {
            fields.insert("httpMethod".into(), "POST".into());
        }
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value);
            }
        };
        let event = self.event.as_ref().map(|event| {
            if event.contains('\\') {
                event.clone()
            } else {
                format!("{NAMESPACE}{event}")
            }
        });
        set("httpMethod", self.method.clone().map(Value::from));
        set("uri", self.uri.clone().map(Value::from));
        set("event", event.map(Value::from));
        set(
            "eventFilter",
            self.filter
                .as_deref()
                .map(|given| json_of("--filter", given))
                .transpose()?,
        );
        set("userIdFilter", self.user_id_filter.clone().map(Value::from));
        set("headers", pairs(&self.header)?);
        set("authMethod", (!self.auth.is_empty()).then(|| "header".into()));
        set("authData", pairs(&self.auth)?);
        let (method, data) = self.jwt()?;
        set("authMethod", method);
        set("authData", data);
        set("format", self.format.clone().map(Value::from));
        set("dataMode", self.data_mode.clone().map(Value::from));
        set(
            "template",
            self.template
                .as_deref()
                .map(given::text)
                .transpose()?
                .map(Value::from),
        );
        set(
            "zgw",
            self.zgw
                .as_deref()
                .map(|given| json_of("--zgw", given))
                .transpose()?,
        );
        set(
            "nlgov",
            self.nlgov
                .as_deref()
                .map(|given| json_of("--nlgov", given))
                .transpose()?,
        );
        set(
            "secret",
            self.secret
                .as_deref()
                .map(given::text)
                .transpose()?
                .map(Value::from),
        );
        set("clientCertificate", self.certificate()?);
        set("legacySignature", self.legacy_signature.map(Value::from));
        set("gapEvents", self.gap_events.map(Value::from));
        set("handshake", self.handshake());
        set(
            "rateLimit",
            nested(&[("perSecond", self.rate), ("burst", self.burst)]),
        );
        set("timeoutSeconds", self.timeout.map(Value::from));
        set("maxInFlight", self.in_flight.map(Value::from));
        set("ordering", self.ordering.clone().map(Value::from));
        let mut retry = nested(&[("maxAttempts", self.max_attempts)]);
        if !self.schedule.is_empty() {
            retry.get_or_insert_with(|| json!({}))["schedule"] = self.schedule.clone().into();
        }
        set("retry", retry);
        // A webhook that is added here gets a secret, which is shown once.
        if known.is_none() {
            fields.entry("secret").or_insert_with(|| "generate".into());
        }
        Ok(Fields::json(fields))
    }
}

impl WebhookFlags {
    fn handshake(&self) -> Option<Value> {
        match &self.handshake {
            Some(origin) => Some(json!({"origin": origin, "ratePerMinute": self.handshake_rate})),
            None => self.no_handshake.then(|| json!({})),
        }
    }

    /// `authMethod` and `authData` of a token.
    fn jwt(&self) -> Result<(Option<Value>, Option<Value>), Failure> {
        let (Some(id), Some(secret)) = (&self.jwt_client_id, &self.jwt_secret) else {
            return Ok((None, None));
        };
        let data = json!({"client_id": id, "secret": given::text(secret)?});
        Ok((Some("jwt".into()), Some(data)))
    }

    fn certificate(&self) -> Result<Option<Value>, Failure> {
        match (&self.client_cert, &self.client_key) {
            (Some(certificate), Some(key)) => {
                let (certificate, key) = (read(certificate)?, read(key)?);
                Ok(Some(json!({"certificate": certificate, "key": key})))
            }
            _ if self.no_client_cert => Ok(Some(json!({}))),
            _ => Ok(None),
        }
    }
}

/// A delay in seconds, or as the setting `retry_schedule` writes it.
fn seconds(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is not a delay such as 30, 30s, 2m, 1h or 1d");
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "s"),
    };
    let factor = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => 1,
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(wrong)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("{} cannot be read: {error}", path.display())))
}

/// The template that a flag gives.
pub(super) fn template(given: &str) -> Result<Template, Failure> {
    Template::parse(&given::text(given)?).map_err(|error| Failure::Usage(format!("--template: {error}")))
}

fn json_of(flag: &str, given: &str) -> Result<Value, Failure> {
    orw_model::json::parse(&given::text(given)?)
        .map_err(|error| Failure::Usage(format!("{flag} is not JSON: {error}")))
}

fn pairs(given: &[String]) -> Result<Option<Value>, Failure> {
    let mut map = Map::new();
    for pair in given {
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            let name = pair.split(':').next().unwrap_or_default();
            Failure::Usage(format!(
                "a header is given as NAME=VALUE or NAME=@FILE; {name} has no ="
            ))
        })?;
        map.insert(name.to_owned(), given::text(value)?.into());
    }
    Ok((!map.is_empty()).then_some(map.into()))
}

fn nested(fields: &[(&str, Option<u32>)]) -> Option<Value> {
    let given: Map<_, _> = fields
        .iter()
        .filter_map(|(name, value)| Some(((*name).to_owned(), Value::from((*value)?))))
        .collect();
    (!given.is_empty()).then_some(given.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_seconds_or_have_a_unit() {
        for (text, delay) in [("5", 5), ("5s", 5), ("2m", 120), ("1h", 3600), ("1d", 86_400)] {
            assert_eq!(seconds(text), Ok(delay), "{text}");
        }
        for wrong in ["", "s", "abc", "5w", "-5", "ü", "4294967295d"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
