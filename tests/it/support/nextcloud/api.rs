//! The OCS API as a real Nextcloud answers it: accounts, sessions, webhook_listeners.

use std::collections::HashMap;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::pages::{Body, plain};
use super::state::{APP, BEARER, SESSION, State};

const NOT_ADMIN: &str =
    "Logged in account must be an admin, a sub admin or gotten special right to access this setting";

const UNKNOWN_ROUTE: &str = "Invalid query, please check the syntax. API specifications are here: \
     http://www.freedesktop.org/wiki/Specifications/open-collaboration-services.\n";

/// The caller: a user, nobody (`None`), or somebody with wrong credentials (an error).
pub(super) fn caller(state: &State, headers: &HeaderMap) -> Result<Option<String>, ()> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // As in Nextcloud: if the external app's credentials are right, they decide; otherwise the other credentials do.
    if let Some(given) = text("authorization-app-api") {
        if (text("ex-app-id"), given) == (Some(APP.0), APP.1) {
            return Ok(Some("admin".to_owned()));
        }
        if !headers.contains_key("authorization") && !headers.contains_key("cookie") {
            return Err(());
        }
    }
    if let Some(given) = text("authorization") {
        if let Some(token) = given.strip_prefix("Bearer ") {
            return if token == BEARER {
                Ok(Some("admin".into()))
            } else {
                Err(())
            };
        }
        let decoded = STANDARD.decode(given.strip_prefix("Basic ").ok_or(())?);
        let decoded = String::from_utf8(decoded.map_err(drop)?).map_err(drop)?;
        let (user, password) = decoded.split_once(':').ok_or(())?;
        let right = state.passwords.get(user).is_some_and(|known| known == password);
        return if right { Ok(Some(user.to_owned())) } else { Err(()) };
    }
    let session = text("cookie").is_some_and(|cookies| cookies.contains(SESSION.0));
    Ok(session.then(|| "admin".to_owned()))
}

/// How to answer: version and format.
#[derive(Clone, Copy)]
struct Form {
    v1: bool,
    json: bool,
}

impl Form {
    fn reply(self, code: u16, message: &str, data: &Value) -> Response<Body> {
        let ok = code == 200;
        let shown = if ok && self.v1 { 100 } else { code };
        let mut meta =
            json!({"status": if ok { "ok" } else { "failure" }, "statuscode": shown, "message": message});
        if self.v1 {
            meta["totalitems"] = "".into();
            meta["itemsperpage"] = "".into();
        }
        let status = match code {
            997 => 401,
            _ if self.v1 => 200,
            998 => 404,
            code => code,
        };
        let body = if self.json {
            json!({"ocs": {"meta": meta, "data": data}}).to_string()
        } else {
            let mut out = "<?xml version=\"1.0\"?>\n".to_owned();
            xml(&mut out, 0, "ocs", &json!({"meta": meta, "data": data}));
            out
        };
        let mut response = plain(StatusCode::from_u16(status).unwrap(), body);
        let kind = if self.json {
            "application/json; charset=utf-8"
        } else {
            "application/xml; charset=utf-8"
        };
        response
            .headers_mut()
            .insert("content-type", kind.parse().unwrap());
        response
    }
}

fn xml(out: &mut String, depth: usize, name: &str, value: &Value) {
    let blank = " ".repeat(depth);
    let inside: Vec<(String, &Value)> = match value {
        Value::Array(list) => list.iter().map(|value| ("element".to_owned(), value)).collect(),
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), value)).collect(),
        other => {
            let text = match other {
                Value::String(text) => text.replace('&', "&amp;").replace('<', "&lt;"),
                Value::Bool(true) => "1".to_owned(),
                Value::Number(number) => number.to_string(),
                _ => String::new(),
            };
            out.push_str(&if other.is_null() {
                format!("{blank}<{name}/>\n")
            } else {
                format!("{blank}<{name}>{text}</{name}>\n")
            });
            return;
        }
    };
    if inside.is_empty() {
        out.push_str(&format!("{blank}<{name}/>\n"));
        return;
    }
    out.push_str(&format!("{blank}<{name}>\n"));
    for (name, value) in inside {
        xml(out, depth + 1, &name, value);
    }
    out.push_str(&format!("{blank}</{name}>\n"));
}

pub(super) async fn ocs(state: &Mutex<State>, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let json = query.get("format").map_or_else(
        || {
            parts
                .headers
                .get("accept")
                .is_some_and(|accept| accept == "application/json")
        },
        |format| format == "json",
    );
    let (_, rest) = parts.uri.path().split_once("/ocs/").unwrap();
    let form = Form {
        v1: rest.starts_with("v1.php"),
        json,
    };
    let rest = rest[6..].to_owned();
    let sent: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap_or_default();

    let mut state = state.lock().unwrap();
    if state.mood.maintenance {
        return form.reply(503, "Service unavailable", &json!([]));
    }
    if let Some(status) = state.mood.broken {
        return plain(StatusCode::from_u16(status).unwrap(), "broken");
    }
    let user = match caller(&state, &parts.headers) {
        Ok(user) => user,
        Err(()) => {
            let mut response = form.reply(997, "Unauthorised", &json!([]));
            let basic = HeaderValue::from_static("Basic realm=\"Authorisation Required\"");
            response.headers_mut().insert("www-authenticate", basic);
            return response;
        }
    };
    let mut response = routes(
        &mut state,
        &parts.method,
        &rest,
        &query,
        &parts.headers,
        user.as_deref(),
        &sent,
        form,
    );
    if let Some(user) = user
        && state.mood.names_user
    {
        response.headers_mut().insert("x-user-id", user.parse().unwrap());
    }
    // The session's cookie is renewed with the answer.
    if parts.headers.contains_key("cookie") {
        let cookie = HeaderValue::from_static("nc_token=renewed; HttpOnly");
        response.headers_mut().append("set-cookie", cookie);
    }
    response
}

#[allow(clippy::too_many_arguments, reason = "one request in pieces")]
fn routes(
    state: &mut State,
    method: &Method,
    rest: &str,
    query: &HashMap<String, String>,
    headers: &HeaderMap,
    user: Option<&str>,
    sent: &Value,
    form: Form,
) -> Response<Body> {
    let admin = user.is_some_and(|user| state.mood.admins.iter().any(|admin| admin == user));
    match rest {
        "/cloud/capabilities" => {
            let data = json!({"version": {"major": 32, "minor": 0, "micro": 1, "string": "32.0.1", "edition": "",
                "extendedSupport": false}, "capabilities": {"core": {"pollinterval": 60}}});
            return form.reply(200, "OK", &data);
        }
        "/cloud/user" => {
            let Some(user) = user else {
                return form.reply(997, "Current user is not logged in", &json!([]));
            };
            let groups = if admin { json!(["admin"]) } else { json!([]) };
            return form.reply(
                200,
                "OK",
                &json!({"id": user, "groups": groups, "display-name": user}),
            );
        }
        _ => {}
    }
    const WEBHOOKS: &str = "/apps/webhook_listeners/api/v1/webhooks";
    let Some(id) = rest.strip_prefix(WEBHOOKS).filter(|_| state.mood.app) else {
        return form.reply(998, UNKNOWN_ROUTE, &json!([]));
    };
    if user.is_none() {
        return form.reply(997, "Current user is not logged in", &json!([]));
    }
    if !admin {
        return form.reply(403, NOT_ADMIN, &json!([]));
    }
    let bearer = headers
        .get("authorization")
        .is_some_and(|value| value.as_bytes().starts_with(b"Bearer "));
    let token = headers
        .get("requesttoken")
        .is_some_and(|token| token == SESSION.1);
    if !bearer && !token && headers.get("ocs-apirequest").is_none_or(|value| value != "true") {
        return plain(
            StatusCode::PRECONDITION_FAILED,
            r#"{"message":"CSRF check failed"}"#,
        );
    }
    let id = id.trim_start_matches('/');
    let place = state
        .webhooks
        .iter()
        .position(|webhook| webhook["id"].as_i64() == id.parse().ok());
    match (method.as_str(), id) {
        ("GET", "") => {
            let uri = query.get("uri");
            let listed: Vec<_> = state
                .webhooks
                .iter()
                .filter(|webhook| uri.is_none_or(|uri| webhook["uri"] == uri.as_str()))
                .collect();
            form.reply(200, "OK", &json!(listed))
        }
        ("POST", _) => {
            let event = sent["event"]
                .as_str()
                .unwrap_or_default()
                .trim_start_matches('\\');
            if !event.starts_with("OCP\\") {
                let message = format!("{event} is not an event class compatible with webhooks");
                return form.reply(400, &message, &json!([]));
            }
            let new = id.is_empty();
            if new {
                state.next_id += 1;
            }
            let number = if new {
                state.next_id - 1
            } else {
                id.parse().unwrap_or(0)
            };
            let mut webhook = json!({"id": number, "appId": headers.get("ex-app-id").map(|id| id.to_str().unwrap()),
                "userId": user, "httpMethod": sent["httpMethod"], "uri": sent["uri"], "event": event,
                "eventFilter": sent.get("eventFilter").filter(|f| !f.is_null()).cloned().unwrap_or(json!([])),
                "userIdFilter": sent.get("userIdFilter").and_then(Value::as_str).unwrap_or_default(),
                "headers": sent["headers"], "authMethod": "none", "authData": null});
            if state.mood.token_needed {
                let asked = sent.get("tokenNeeded").filter(|asked| !asked.is_null());
                webhook["tokenNeeded"] = asked.cloned().unwrap_or(json!([]));
            }
            match place {
                Some(place) => state.webhooks[place] = webhook.clone(),
                None if new => state.webhooks.push(webhook.clone()),
                None => {}
            }
            form.reply(200, "OK", &webhook)
        }
        ("GET", _) => match place {
            Some(place) => form.reply(200, "OK", &state.webhooks[place].clone()),
            None => form.reply(
                404,
                "Did expect one result but found none when executing: query",
                &json!([]),
            ),
        },
        ("DELETE", _) => {
            if let Some(app) = id.strip_prefix("byappid/") {
                let before = state.webhooks.len();
                state.webhooks.retain(|webhook| webhook["appId"] != app);
                return form.reply(200, "OK", &json!(before - state.webhooks.len()));
            }
            let gone = place.map(|place| state.webhooks.remove(place)).is_some();
            form.reply(200, "OK", &json!(gone))
        }
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, ""),
    }
}
