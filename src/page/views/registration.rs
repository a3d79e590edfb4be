//! A registration as a form has it: texts, which become the fields of the API.

use serde_json::{Map, Value, json};

use crate::page::form::Form;
use crate::page::records::{Webhook, header_lines};
use crate::registry::MASK;

/// The operators of the small builder; the text can have every operator of the dialect.
pub(crate) const OPERATORS: [&str; 8] = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$exists"];

/// Fields of the API that the form has no place for.
pub(crate) const MORE: [&str; 5] = [
    "authMethod",
    "authData",
    "clientCertificate",
    "handshake",
    "retry",
];

/// What all events of OpenRegister are called with.
const NAMESPACE: &str = r"OCA\OpenRegister\Event\";

/// A registration that is being written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft {
    /// The webhook that is changed; `None` for a new one.
    pub(crate) id: Option<i64>,
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) event: String,
    pub(crate) filter: String,
    pub(crate) user: String,
    pub(crate) headers: String,
    pub(crate) auth_name: String,
    pub(crate) auth_value: String,
    pub(crate) format: String,
    pub(crate) mode: String,
    pub(crate) ordering: String,
    pub(crate) per_second: String,
    pub(crate) burst: String,
    pub(crate) in_flight: String,
    pub(crate) timeout: String,
    pub(crate) attempts: String,
    pub(crate) legacy: bool,
    pub(crate) gaps: bool,
    /// Whether it shall send no credential any more.
    pub(crate) forgets: bool,
    pub(crate) template: String,
    /// As JSON.
    pub(crate) zgw: String,
    /// As JSON.
    pub(crate) nlgov: String,
    /// Fields of the API that have no place of their own, as JSON. They may hold secrets, so no answer repeats them.
    pub(crate) more: String,
    /// How it authenticates now, as the API names it.
    pub(crate) auth_method: &'static str,
    /// The names of the headers with credentials that it has; an update that names no other keeps them.
    pub(crate) kept_credentials: Vec<String>,
}

impl Draft {
    /// A new one, of which a link may name the event.
    pub(crate) fn new(query: &Form) -> Self {
        Self {
            method: "POST".to_owned(),
            event: query.get("event").unwrap_or("ObjectCreatedEvent").to_owned(),
            format: "documented".to_owned(),
            mode: "full".to_owned(),
            ordering: "object".to_owned(),
            ..Self::default()
        }
    }

    /// A webhook as it is. Secrets are masked; what comes back masked stays.
    pub(crate) fn of(webhook: &Webhook) -> Self {
        Self {
            id: Some(webhook.id),
            method: webhook.http_method.to_uppercase(),
            uri: webhook.uri.clone(),
            event: webhook.short_event().to_owned(),
            filter: if webhook.is_filtered() {
                format!("{:#}", webhook.event_filter)
            } else {
                String::new()
            },
            user: webhook.user_id_filter.clone(),
            headers: header_lines(Some(&webhook.headers)),
            format: webhook.format.clone(),
            mode: webhook.data_mode.clone(),
            ordering: webhook.ordering.clone(),
            per_second: webhook.rate_limit.per_second.to_string(),
            burst: webhook.rate_limit.burst.to_string(),
            in_flight: webhook.max_in_flight.to_string(),
            timeout: webhook.timeout_seconds.to_string(),
            attempts: webhook.retry.max_attempts.to_string(),
            template: webhook.template.clone().unwrap_or_default(),
            zgw: shown(&webhook.zgw),
            nlgov: shown(&webhook.nlgov),
            legacy: webhook.legacy_signature,
            gaps: webhook.gap_events,
            ..Self::default()
        }
    }

    /// What a form has.
    pub(crate) fn sent(form: &Form) -> Self {
        let text = |name: &str| form.text(name).to_owned();
        Self {
            id: form.get("id").and_then(|id| id.parse().ok()),
            method: text("method"),
            uri: text("uri"),
            event: text("event"),
            filter: text("filter"),
            user: text("user"),
            headers: text("headers"),
            auth_name: text("auth_name"),
            auth_value: text("auth_value"),
            format: text("format"),
            mode: text("mode"),
            ordering: text("ordering"),
            per_second: text("per_second"),
            burst: text("burst"),
            in_flight: text("in_flight"),
            timeout: text("timeout"),
            attempts: text("attempts"),
            legacy: form.is_ticked("legacy"),
            gaps: form.is_ticked("gaps"),
            forgets: form.is_ticked("forget"),
            template: text("template"),
            zgw: text("zgw"),
            nlgov: text("nlgov"),
            more: text("more"),
            auth_method: "none",
            kept_credentials: Vec::new(),
        }
    }

    /// The fields of the API.
    ///
    /// # Errors
    /// What is no field yet: a filter that is no JSON, a number that is none.
    pub(crate) fn fields(&self) -> Result<Map<String, Value>, String> {
        let mut fields = Map::new();
        let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        set("httpMethod", json!(self.method));
        set("uri", json!(self.uri));
        set("event", json!(full_event(&self.event)));
        set("eventFilter", self.filter_value()?);
        set("userIdFilter", json!(self.user));
        set("headers", headers(&self.headers)?);
        let given = !self.auth_name.is_empty() && !self.auth_value.is_empty();
        if given {
            set("authMethod", json!("header"));
            set("authData", json!({ &self.auth_name: &self.auth_value }));
        } else if self.kept_credentials.is_empty() || self.forgets {
            set("authMethod", json!("none"));
        } else {
            let masked = self
                .kept_credentials
                .iter()
                .map(|name| (name.clone(), json!(MASK)));
            set("authMethod", json!(self.auth_method));
            set("authData", Value::Object(masked.collect()));
        }
        for (name, value) in [
            ("format", &self.format),
            ("dataMode", &self.mode),
            ("ordering", &self.ordering),
        ] {
            if !value.is_empty() {
                set(name, json!(value));
            }
        }
        if !self.template.is_empty() {
            set("template", json!(self.template));
        }
        for (name, text) in [("zgw", &self.zgw), ("nlgov", &self.nlgov)] {
            if !text.is_empty() {
                let value =
                    orw_model::json::parse(text).map_err(|error| format!("{name}: is not JSON: {error}"))?;
                set(name, value);
            }
        }
        set("legacySignature", json!(self.legacy));
        set("gapEvents", json!(self.gaps));
        let mut rate = Map::new();
        for (name, text) in [("perSecond", &self.per_second), ("burst", &self.burst)] {
            if let Some(number) = whole(name, text)? {
                rate.insert(name.to_owned(), json!(number));
            }
        }
        if !rate.is_empty() {
            set("rateLimit", rate.into());
        }
        if let Some(number) = whole("maxInFlight", &self.in_flight)? {
            set("maxInFlight", json!(number));
        }
        if let Some(number) = whole("timeoutSeconds", &self.timeout)? {
            set("timeoutSeconds", json!(number));
        }
        let mut more = self.more()?;
        if let Some(number) = whole("maxAttempts", &self.attempts)? {
            let retry = more.entry("retry").or_insert_with(|| json!({}));
            if let Value::Object(retry) = retry {
                retry.entry("maxAttempts").or_insert(json!(number));
            }
        }
        fields.extend(more);
        Ok(fields)
    }

    /// The fields without a place of their own.
    fn more(&self) -> Result<Map<String, Value>, String> {
        if self.more.is_empty() {
            return Ok(Map::new());
        }
        // What stands there is not repeated: it may be a secret.
        let Ok(Value::Object(fields)) = orw_model::json::parse(&self.more) else {
            return Err("further fields: must be a JSON object, such as {\"handshake\": {\"origin\": \"example.org\"}}".to_owned());
        };
        if let Some(name) = fields.keys().find(|name| !MORE.contains(&name.as_str())) {
            return Err(format!(
                "further fields: {name:?} is none of {}; everything else has a field of its own in the form",
                MORE.join(", ")
            ));
        }
        Ok(fields)
    }

    /// The filter; the empty one if nothing is written.
    fn filter_value(&self) -> Result<Value, String> {
        if self.filter.is_empty() {
            return Ok(Value::Object(Map::new()));
        }
        orw_model::json::parse(&self.filter).map_err(|error| format!("eventFilter: is not JSON: {error}"))
    }

    /// Adds the condition of the builder to the text.
    ///
    /// # Errors
    /// If the text is no filter that a condition can be added to, or the condition is not whole.
    pub(crate) fn add_condition(&mut self, form: &Form) -> Result<(), String> {
        let (path, operator) = (form.text("path"), form.text("operator"));
        if path.is_empty() || !OPERATORS.contains(&operator) {
            return Err("eventFilter: name a path and an operator of the condition".to_owned());
        }
        let written = form.text("value");
        let one = |text: &str| match orw_model::json::parse(text) {
            Ok(value @ (Value::Number(_) | Value::Bool(_) | Value::Null)) => value,
            _ => json!(text),
        };
        let value = match operator {
            "$in" => Value::Array(written.split(',').map(|text| one(text.trim())).collect()),
            "$exists" => json!(written != "false"),
            _ => one(written),
        };
        let Value::Object(mut filter) = self.filter_value()? else {
            return Err("eventFilter: must be a JSON object".to_owned());
        };
        match filter.get_mut(path) {
            Some(Value::Object(conditions)) => {
                conditions.insert(operator.to_owned(), value);
            }
            _ if operator == "$eq" => {
                filter.insert(path.to_owned(), value);
            }
            _ => {
                filter.insert(path.to_owned(), json!({ operator: value }));
            }
        }
        self.filter = format!("{:#}", Value::Object(filter));
        Ok(())
    }
}

/// An event or a pattern with its namespace.
fn full_event(text: &str) -> String {
    if text.is_empty() || text.contains('\\') {
        text.to_owned()
    } else {
        format!("{NAMESPACE}{text}")
    }
}

/// A setting as JSON; empty if there is none.
fn shown(value: &Value) -> String {
    if value.is_null() {
        String::new()
    } else {
        format!("{value:#}")
    }
}

/// Headers that are written one a line.
fn headers(text: &str) -> Result<Value, String> {
    let mut all = Map::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| format!("headers: {line:?} is not Name: value"))?;
        all.insert(name.trim().to_owned(), json!(value.trim()));
    }
    Ok(all.into())
}

fn whole(name: &str, text: &str) -> Result<Option<u32>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = text
        .parse()
        .map_err(|_| format!("{name}: must be a whole number, not {text:?}"))?;
    Ok(Some(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_the_fields_of_the_api() {
        let form = Form::of_query(Some(
            "method=POST&uri=https%3A%2F%2Fexample.com%2F&event=Object*&filter=%7B%22a%22%3A1%7D&headers=X-A%3A+b%3Ac&burst=7&gaps=1",
        ));
        let fields = Draft::sent(&form).fields().unwrap();
        assert_eq!(fields["event"], r"OCA\OpenRegister\Event\Object*");
        assert_eq!(fields["eventFilter"], json!({"a": 1}));
        assert_eq!(fields["headers"], json!({"X-A": "b:c"}));
        assert_eq!(
            (&fields["rateLimit"], &fields["gapEvents"]),
            (&json!({"burst": 7}), &json!(true))
        );
        assert!(!fields.contains_key("timeoutSeconds"));
        let more = Form::of_query(Some(
            "more=%7B%22handshake%22%3A%7B%22origin%22%3A%22a.example%22%7D%7D",
        ));
        let fields = Draft::sent(&more).fields().unwrap();
        assert_eq!(fields["handshake"], json!({"origin": "a.example"}));
        for wrong in [
            "filter=%7B",
            "headers=nonsense",
            "burst=x",
            "more=%5B%5D",
            "more=%7B%22uri%22%3A%22x%22%7D",
        ] {
            assert!(
                Draft::sent(&Form::of_query(Some(wrong))).fields().is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn the_builder_adds_to_the_text() {
        let mut draft = Draft::default();
        let mut add = |query: &str| {
            draft
                .add_condition(&Form::of_query(Some(query)))
                .map(|()| draft.filter.clone())
        };
        add("path=event.object.register&operator=%24eq&value=my-register").unwrap();
        add("path=event.object.data.count&operator=%24gt&value=5").unwrap();
        let text = add("path=event.object.data.count&operator=%24lt&value=9").unwrap();
        let filter: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            filter,
            json!({"event.object.register": "my-register", "event.object.data.count": {"$gt": 5, "$lt": 9}})
        );
        let text = add("path=user.uid&operator=%24in&value=a, 7").unwrap();
        assert!(text.contains("\"$in\""));
        assert!(add("path=&operator=%24eq&value=x").is_err());
        assert!(add("path=x&operator=%24where&value=x").is_err());
    }
}
