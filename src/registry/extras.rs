//! The fields of a registration that Nextcloud does not have.

use std::time::Duration;

use secrecy::SecretString;

use super::body::BodyOptions;
use super::certificate::CertificateChoice;
use super::error::Refused;
use super::fields::{Fields, invalid, within};
use super::format::{DataMode, Format};
use super::handshake::HandshakeChoice;
use super::secret;
use super::webhook::Ordering;
use crate::template::Template;

/// The signing secret that a request asks for.
#[derive(Debug, Clone)]
pub enum SecretChoice {
    Given(SecretString),
    Generate,
}

/// The fields that are ours; each only where the request sent it.
#[derive(Debug, Clone, Default)]
pub struct Extras {
    pub format: Option<Format>,
    pub data_mode: Option<DataMode>,
    pub options: BodyOptions,
    pub secret: Option<SecretChoice>,
    pub client_certificate: Option<CertificateChoice>,
    pub legacy_signature: Option<bool>,
    pub gap_events: Option<bool>,
    pub handshake: Option<HandshakeChoice>,
    pub enabled: Option<bool>,
    pub per_second: Option<u32>,
    pub burst: Option<u32>,
    pub timeout: Option<Duration>,
    pub max_in_flight: Option<u32>,
    pub ordering: Option<Ordering>,
    pub max_attempts: Option<u32>,
    pub schedule: Option<Vec<Duration>>,
}

impl Extras {
    pub(super) fn parse(fields: &Fields) -> Result<Self, Refused> {
        let rate = fields.nested("rateLimit")?.unwrap_or_default();
        let retry = fields.nested("retry")?.unwrap_or_default();
        let secret = match fields.text("secret")? {
            Some("generate") => Some(SecretChoice::Generate),
            _ => parse_secret(fields)?.map(SecretChoice::Given),
        };
        // `format=json` in a form body asks for the format of the answer, as in Nextcloud.
        let format = match fields.text("format")? {
            Some("json" | "xml") => None,
            _ => fields.one_of("format", Format::NAMES, Format::parse)?,
        };
        Ok(Self {
            format,
            options: BodyOptions::of_request(fields)?,
            data_mode: fields.one_of("dataMode", DataMode::NAMES, DataMode::parse)?,
            secret,
            client_certificate: CertificateChoice::read(fields)?,
            legacy_signature: fields.boolean("legacySignature")?,
            gap_events: fields.boolean("gapEvents")?,
            handshake: HandshakeChoice::read(fields)?,
            enabled: fields.boolean("enabled")?,
            per_second: rate.number("perSecond", 1, 10_000).map_err(within("rateLimit"))?,
            burst: rate.number("burst", 1, 100_000).map_err(within("rateLimit"))?,
            timeout: fields
                .number("timeoutSeconds", 1, 300)?
                .map(|s| Duration::from_secs(s.into())),
            max_in_flight: fields.number("maxInFlight", 1, 512)?,
            ordering: fields.one_of("ordering", Ordering::NAMES, Ordering::parse)?,
            max_attempts: retry.number("maxAttempts", 1, 100).map_err(within("retry"))?,
            schedule: retry.delays("schedule", 50, 604_800).map_err(within("retry"))?,
        })
    }

    /// Whether the body would name the user, as far as this request tells.
    pub(super) fn show_user(&self) -> bool {
        let names = match self.format {
            Some(Format::Nextcloud) => true,
            Some(Format::Template) => self.options.template.as_ref().is_some_and(Template::names_user),
            _ => false,
        };
        names && self.data_mode != Some(DataMode::Reference)
    }

    /// Whether the request sent any field of ours.
    #[must_use]
    pub fn any(&self) -> bool {
        self.format.is_some()
            || self.data_mode.is_some()
            || self.options.given().contains(&true)
            || self.secret.is_some()
            || self.client_certificate.is_some()
            || self.legacy_signature.is_some()
            || self.gap_events.is_some()
            || self.handshake.is_some()
            || self.enabled.is_some()
            || self.per_second.is_some()
            || self.burst.is_some()
            || self.timeout.is_some()
            || self.max_in_flight.is_some()
            || self.ordering.is_some()
            || self.max_attempts.is_some()
            || self.schedule.is_some()
    }
}

/// The field `secret`; `None` where it is absent or `generate`.
pub(crate) fn parse_secret(fields: &Fields) -> Result<Option<SecretString>, Refused> {
    match fields.text("secret")? {
        None | Some("generate") => Ok(None),
        Some(text) => Ok(Some(
            secret::parse(text).map_err(|reason| invalid("secret", reason))?,
        )),
    }
}
