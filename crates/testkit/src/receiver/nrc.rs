//! Judges a notification as Open Notificaties does: the token, then the fields, then the kanaal and its kenmerken.
//!
//! From its facts: HS256 with the client's secret, `iss` or `client_id` known, made at most an hour ago and not in the future, not
//! expired; a kanaal that exists, and kenmerken that are some of its filters or all of them and more.

use chrono::{DateTime, Utc};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::answer::Answer;
use super::received::Received;

/// How old a token may be, in seconds.
const OLDEST: i64 = 3600;

/// An NRC with one client and some kanalen.
#[derive(Debug, Clone)]
pub struct Nrc {
    pub client_id: String,
    pub secret: String,
    /// Each kanaal with its filters.
    pub kanalen: Vec<(String, Vec<String>)>,
}

impl Nrc {
    /// 201 and the notification, 403 for a token that is not accepted, 400 for a notification that is not.
    #[must_use]
    pub fn answer(&self, request: &Received) -> Answer {
        if let Err(reason) = self.token(request.header("authorization"), Utc::now()) {
            return problem(403, reason);
        }
        match self.notification(&request.json()) {
            Ok(()) => Answer::Full {
                status: 201,
                headers: vec![("content-type".to_owned(), "application/json".to_owned())],
                body: request.body.clone(),
            },
            Err(reason) => problem(400, reason),
        }
    }

    fn token(&self, authorization: &str, now: DateTime<Utc>) -> Result<(), &'static str> {
        let token = authorization.strip_prefix("Bearer ").ok_or("no Bearer token")?;
        let (signed, signature) = token.rsplit_once('.').ok_or("no JWT")?;
        let (header, claims) = signed.split_once('.').ok_or("no JWT")?;
        let read = |part: &str| -> Option<Value> {
            serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).ok()?).ok()
        };
        let (header, claims) = read(header).zip(read(claims)).ok_or("no JWT")?;
        if header["alg"] != "HS256" {
            return Err("another algorithm than HS256");
        }
        if claims["client_id"] != self.client_id.as_str() && claims["iss"] != self.client_id.as_str() {
            return Err("an unknown client");
        }
        let signature = BASE64URL_NOPAD
            .decode(signature.as_bytes())
            .map_err(|_| "no signature")?;
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).map_err(|_| "the secret is no key")?;
        mac.update(signed.as_bytes());
        mac.verify_slice(&signature).map_err(|_| "a wrong signature")?;
        let (now, issued) = (now.timestamp(), claims["iat"].as_i64().ok_or("no iat")?);
        if issued > now || now - issued > OLDEST {
            return Err("made in the future, or too long ago");
        }
        if claims["exp"].as_i64().is_some_and(|end| end <= now) {
            return Err("expired");
        }
        Ok(())
    }

    fn notification(&self, body: &Value) -> Result<(), &'static str> {
        for field in [
            "kanaal",
            "hoofdObject",
            "resource",
            "resourceUrl",
            "actie",
            "aanmaakdatum",
        ] {
            if body[field].as_str().is_none_or(str::is_empty) {
                return Err("a required field is missing");
            }
        }
        let kenmerken = body["kenmerken"].as_object().ok_or("kenmerken is no object")?;
        let (_, filters) = self
            .kanalen
            .iter()
            .find(|(name, _)| body["kanaal"] == name.as_str())
            .ok_or("a kanaal with this name does not exist")?;
        let known = |name: &String| filters.contains(name);
        let consistent = kenmerken.keys().all(known) || filters.iter().all(|f| kenmerken.contains_key(f));
        if consistent {
            Ok(())
        } else {
            Err("the kenmerken are not consistent with the filters of the kanaal")
        }
    }
}

fn problem(status: u16, detail: &str) -> Answer {
    Answer::Full {
        status,
        headers: vec![("content-type".to_owned(), "application/problem+json".to_owned())],
        body: json!({"status": status, "detail": detail}).to_string().into(),
    }
}
