//! The data as the engine computes with it.
//!
//! Guarantees: lists and maps are those of the data. Each has a digest of what it holds, so comparing two of them takes one step however
//! large they are. A null is like something that is not there.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{DynObject, Enumerator, Object, ObjectExt as _, ObjectRepr};
use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha256};

type Digest = [u8; 32];

/// A list of the data.
#[derive(Debug)]
struct List {
    items: Vec<Value>,
    digest: Digest,
}

/// A map of the data, in its order.
#[derive(Debug)]
struct Fields {
    fields: Vec<(Arc<str>, Value)>,
    places: BTreeMap<Arc<str>, usize>,
    digest: Digest,
}

/// The data of one rendering.
pub(super) struct Data {
    pub(super) context: Value,
    /// The longest text in it, in bytes.
    pub(super) longest: usize,
}

impl Data {
    pub(super) fn of(data: &Map<String, Json>) -> Self {
        let mut longest = 0;
        let context = fields(data, &mut longest);
        Self { context, longest }
    }
}

/// Whether comparing this value takes one step, however much it holds.
pub(super) fn compares_in_one_step(value: &Value) -> bool {
    value.downcast_object_ref::<List>().is_some() || value.downcast_object_ref::<Fields>().is_some()
}

/// A number with a fraction is a double here, so 9.90 is written as 9.9.
fn value(json: &Json, longest: &mut usize) -> Value {
    match json {
        Json::Null => Value::UNDEFINED,
        Json::Bool(it) => Value::from(*it),
        Json::Number(number) => number.as_i64().map_or_else(
            || match number.to_string().parse::<i128>() {
                Ok(whole) => Value::from(whole),
                Err(_) => Value::from(number.as_f64().unwrap_or_default()),
            },
            Value::from,
        ),
        Json::String(text) => {
            *longest = text.len().max(*longest);
            Value::from(text.as_str())
        }
        Json::Array(list) => {
            let items: Vec<Value> = list.iter().map(|json| value(json, longest)).collect();
            let mut digest = Sha256::new_with_prefix(b"[");
            for item in &items {
                add(&mut digest, item);
            }
            let digest = digest.finalize().into();
            Value::from_object(List { items, digest })
        }
        Json::Object(map) => fields(map, longest),
    }
}

fn fields(map: &Map<String, Json>, longest: &mut usize) -> Value {
    let mut fields = Vec::with_capacity(map.len());
    let mut places = BTreeMap::new();
    for (name, json) in map {
        *longest = name.len().max(*longest);
        let name: Arc<str> = name.as_str().into();
        places.insert(Arc::clone(&name), fields.len());
        fields.push((name, value(json, longest)));
    }
    // In the order of the names: two maps are equal whatever their order is.
    let mut digest = Sha256::new_with_prefix(b"{");
    for (name, place) in &places {
        add_bytes(&mut digest, b's', name.as_bytes());
        if let Some((_, value)) = fields.get(*place) {
            add(&mut digest, value);
        }
    }
    Value::from_object(Fields {
        fields,
        places,
        digest: digest.finalize().into(),
    })
}

/// Adds what a value is to the digest of what holds it.
fn add(digest: &mut Sha256, value: &Value) {
    if let Some(list) = value.downcast_object_ref::<List>() {
        add_bytes(digest, b'[', &list.digest);
    } else if let Some(map) = value.downcast_object_ref::<Fields>() {
        add_bytes(digest, b'{', &map.digest);
    } else if let Some(text) = value.as_str() {
        add_bytes(digest, b's', text.as_bytes());
    } else {
        add_bytes(digest, b'v', value.to_string().as_bytes());
    }
}

fn add_bytes(digest: &mut Sha256, kind: u8, bytes: &[u8]) {
    digest.update([kind]);
    digest.update(bytes.len().to_le_bytes());
    digest.update(bytes);
}

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.items.get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.items.len())
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        Some(self.digest.cmp(&other.downcast_ref::<Self>()?.digest))
    }
}

impl Object for Fields {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let place = self.places.get(key)?;
        self.fields.get(*place).map(|(_, value)| value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.mapped_key_value_enumerator(|this| {
            Box::new(
                this.fields
                    .iter()
                    .map(|(name, value)| (Value::from(Arc::clone(name)), value.clone())),
            )
        })
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.fields.len())
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        Some(self.digest.cmp(&other.downcast_ref::<Self>()?.digest))
    }
}
