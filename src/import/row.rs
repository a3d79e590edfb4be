//! A row of OpenRegister's table, as every version of it has it: columns that an older version lacks are absent.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// One registration of OpenRegister.
#[derive(Clone, Deserialize)]
pub(super) struct Row {
    pub(super) id: i64,
    #[serde(default)]
    pub(super) uuid: String,
    #[serde(default)]
    pub(super) name: String,
    pub(super) url: String,
    #[serde(default = "post")]
    pub(super) method: String,
    #[serde(default, deserialize_with = "json")]
    pub(super) events: Json,
    #[serde(default, deserialize_with = "json")]
    pub(super) headers: Json,
    #[serde(default)]
    pub(super) secret: Option<String>,
    #[serde(default = "yes")]
    pub(super) enabled: bool,
    #[serde(default)]
    pub(super) organisation: Option<String>,
    #[serde(default, deserialize_with = "json")]
    pub(super) filters: Json,
    #[serde(default)]
    pub(super) retry_policy: Option<String>,
    #[serde(default)]
    pub(super) max_retries: Option<i64>,
    #[serde(default)]
    pub(super) timeout: Option<i64>,
    #[serde(default, deserialize_with = "json")]
    pub(super) configuration: Json,
    #[serde(default)]
    pub(super) mapping: Option<i64>,
}

/// The row has a secret and headers, so it is not shown.
impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A column of type text that holds JSON.
#[derive(Clone, Default)]
pub(super) enum Json {
    #[default]
    Empty,
    Value(Value),
    /// It is no JSON.
    Broken,
}

impl Json {
    /// The object in it; an empty list is PHP's empty object. `None`: it holds something else.
    pub(super) fn object(&self) -> Option<Map<String, Value>> {
        match self {
            Self::Empty => Some(Map::new()),
            Self::Value(Value::Object(map)) => Some(map.clone()),
            Self::Value(Value::Array(list)) if list.is_empty() => Some(Map::new()),
            Self::Value(_) | Self::Broken => None,
        }
    }

    /// The texts in its list. `None`: it holds something else.
    pub(super) fn texts(&self) -> Option<Vec<String>> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match self {
            Self::Empty => Some(Vec::new()),
            Self::Value(Value::Array(list)) => list.iter().map(text).collect(),
            Self::Value(Value::Object(map)) => map.values().map(text).collect(),
            Self::Value(_) | Self::Broken => None,
        }
    }
}

fn json<'de, D: Deserializer<'de>>(from: D) -> Result<Json, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(match text.as_deref().map(str::trim) {
        None | Some("" | "null") => Json::Empty,
        Some(text) => orw_model::json::parse(text).map_or(Json::Broken, Json::Value),
    })
}

fn post() -> String {
    "POST".to_owned()
}

const fn yes() -> bool {
    true
}
