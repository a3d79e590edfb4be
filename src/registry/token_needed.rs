//! The field `tokenNeeded`, which webhooks of Nextcloud 33 and later have: for whom Nextcloud makes short-lived tokens that it sends along.
//!
//! Guarantee: what is registered asks for no token. Only Nextcloud can make one, so a webhook that needs them would not work here.

use serde_json::Value;

use super::fields::{Fields, InvalidField, invalid};

const FIELD: &str = "tokenNeeded";
/// The most that is stored of a value without a single token, in bytes of JSON.
const LONGEST: usize = 1000;

/// What a request says: `[]` if it says nothing, as in Nextcloud.
pub(super) fn read(fields: &Fields) -> Result<Value, InvalidField> {
    let value = match fields.array(FIELD)? {
        Some(Value::Object(map)) if map.is_empty() => none(),
        Some(value) => value.clone(),
        None => none(),
    };
    if !is_nothing(&value) {
        return Err(invalid(
            FIELD,
            "no tokens can be made here: only Nextcloud can make them, and these events are not sent by Nextcloud; \
             leave the field out, and give the receiver an app password of its own, for example by authData",
        ));
    }
    if value.to_string().len() > LONGEST {
        return Err(invalid(
            FIELD,
            format!("must have at most {LONGEST} bytes as JSON"),
        ));
    }
    Ok(value)
}

/// What a webhook has that never said anything about tokens.
pub(super) const fn none() -> Value {
    Value::Array(Vec::new())
}

/// Whether there is nobody in it for whom a token would be made.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.iter().all(is_nothing),
        Value::Object(map) => map.values().all(is_nothing),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> Result<Value, InvalidField> {
        let mut fields = Fields::default();
        fields.or_insert(FIELD, || value);
        read(&fields)
    }

    #[test]
    fn what_asks_for_no_token_is_kept_as_it_was_sent() {
        assert_eq!(read(&Fields::default()), Ok(json!([])));
        for same in [
            json!([]),
            json!({"user_ids": [], "user_roles": []}),
            json!({"user_ids": null}),
        ] {
            assert_eq!(of(same.clone()), Ok(same));
        }
        assert_eq!(of(json!({})), Ok(json!([])));
        assert_eq!(of(Value::Null), Ok(json!([])));
    }

    #[test]
    fn what_asks_for_one_is_refused_with_the_reason() {
        for asks in [
            json!({"user_ids": ["admin"]}),
            json!({"user_roles": ["nonsense"]}),
            json!({"foo": {"a": 5}}),
            json!(["admin"]),
        ] {
            let error = of(asks).unwrap_err().to_string();
            assert!(
                error.starts_with("tokenNeeded: no tokens can be made here"),
                "{error}"
            );
        }
        assert!(of(json!("admin")).unwrap_err().reason.contains("not a string"));
        let nothing: Value = vec![json!([]); 1000].into();
        assert!(of(nothing).unwrap_err().reason.contains("at most 1000 bytes"));
    }
}
