//! `authMethod: jwt`: what a token is made of for every request.
//!
//! Guarantee: the secret is in `authData` only, which is encrypted at rest like the headers of `authMethod: header`.

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use super::fields::{InvalidField, invalid, kind};
use super::headers::Headers;

const CLIENT_ID: &str = "client_id";
const SECRET: &str = "secret";
const USER_ID: &str = "user_id";
const USER_REPRESENTATION: &str = "user_representation";
const KNOWN: [&str; 4] = [CLIENT_ID, SECRET, USER_ID, USER_REPRESENTATION];
const LONGEST: usize = 255;

/// Who a token is for, and what signs it (HS256).
#[derive(Debug, Clone)]
pub struct JwtCredentials {
    pub client_id: String,
    pub secret: SecretString,
    /// For the receiver's audit trail.
    pub user_id: Option<String>,
    pub user_representation: Option<String>,
}

/// The names and values of `authData`.
pub(super) fn read(field: &str, map: &Map<String, Value>) -> Result<Headers, InvalidField> {
    let mut pairs = Headers::new();
    for (name, value) in map {
        let at = || format!("{field}.{name}");
        if !KNOWN.contains(&name.as_str()) {
            return Err(invalid(
                at(),
                format!("is not known; there are {}", KNOWN.join(", ")),
            ));
        }
        let Value::String(text) = value else {
            return Err(invalid(at(), format!("must be a string, not {}", kind(value))));
        };
        if text.is_empty() || text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(invalid(
                at(),
                format!("must have 1 to {LONGEST} bytes without control characters"),
            ));
        }
        pairs.push((name.clone(), SecretString::from(text.clone())));
    }
    for needed in [CLIENT_ID, SECRET] {
        if !map.contains_key(needed) {
            return Err(invalid(
                format!("{field}.{needed}"),
                "is required with the authMethod jwt: give client_id and secret as the receiver knows them",
            ));
        }
    }
    Ok(pairs)
}

impl JwtCredentials {
    /// The names that `authData` has.
    pub(super) fn names(&self) -> Vec<&'static str> {
        let optional = [
            (USER_ID, self.user_id.is_some()),
            (USER_REPRESENTATION, self.user_representation.is_some()),
        ];
        let there = optional.into_iter().filter(|(_, there)| *there);
        [CLIENT_ID, SECRET]
            .into_iter()
            .chain(there.map(|(name, _)| name))
            .collect()
    }

    /// What `authData` holds.
    pub(super) fn of(pairs: &Headers) -> Result<Self, String> {
        let find = |wanted: &str| {
            pairs
                .iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value)
        };
        let text = |wanted: &str| find(wanted).map(|value| value.expose_secret().to_owned());
        let missing = |name: &str| format!("column auth_data has no {name} for the authMethod jwt");
        Ok(Self {
            client_id: text(CLIENT_ID).ok_or_else(|| missing(CLIENT_ID))?,
            secret: find(SECRET).cloned().ok_or_else(|| missing(SECRET))?,
            user_id: text(USER_ID),
            user_representation: text(USER_REPRESENTATION),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(data: Value) -> Result<Headers, String> {
        read("authData", data.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn credentials_are_read_strictly_and_the_secret_is_not_shown() {
        let pairs = of(json!({"client_id": "or", "secret": "s3cret-value"})).unwrap();
        let jwt = JwtCredentials::of(&pairs).unwrap();
        assert_eq!((jwt.client_id.as_str(), jwt.user_id.as_deref()), ("or", None));
        assert!(!format!("{jwt:?}").contains("s3cret-value"));
        for (data, start) in [
            (json!({}), "authData.client_id: is required"),
            (json!({"client_id": "or"}), "authData.secret: is required"),
            (
                json!({"client_id": "or", "secret": ""}),
                "authData.secret: must have 1 to 255",
            ),
            (
                json!({"client_id": 5, "secret": "s"}),
                "authData.client_id: must be a string",
            ),
            (
                json!({"clientId": "or", "secret": "s"}),
                "authData.clientId: is not known",
            ),
        ] {
            let error = of(data.clone()).unwrap_err();
            assert!(error.starts_with(start), "{data}: {error}");
        }
    }
}
