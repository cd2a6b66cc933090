//! The schemas of the document.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::descriptor::{MAX_DESCRIPTORS, MAX_ENTRIES, MAX_KEY_LENGTH};
use crate::wire::{self, json::JsonError};

/// The schemas of all types: of requests, of answers, and of protobuf messages.
pub(super) struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
    messages: Map<String, Value>,
}

impl Schemas {
    pub(super) fn new() -> Result<Self, JsonError> {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        let mut messages = Map::new();
        wire::schema::add("RateLimitRequest", &mut messages)?;
        wire::schema::add("RateLimitResponse", &mut messages)?;
        add_bounds(&mut messages);
        Ok(Self {
            read: settings().for_deserialize().into_generator(),
            written: settings().for_serialize().into_generator(),
            messages,
        })
    }

    pub(super) fn read<T: JsonSchema>(&mut self) -> Schema {
        self.read.subschema_for::<T>()
    }

    pub(super) fn written<T: JsonSchema>(&mut self) -> Schema {
        self.written.subschema_for::<T>()
    }

    pub(super) fn all(mut self) -> Map<String, Value> {
        let mut all = self.read.take_definitions(true);
        all.extend(self.written.take_definitions(true));
        all.extend(self.messages);
        all
    }
}

/// Adds the bounds of a query, which are stricter than the protos.
fn add_bounds(messages: &mut Map<String, Value>) {
    let bounds = [
        ("RateLimitRequest", "/required", json!(["domain", "descriptors"])),
        ("RateLimitRequest", "/properties/domain", json!({ "type": "string", "minLength": 1 })),
        ("RateLimitRequest", "/properties/descriptors/type", json!("array")),
        ("RateLimitRequest", "/properties/descriptors/minItems", json!(1)),
        ("RateLimitRequest", "/properties/descriptors/maxItems", json!(MAX_DESCRIPTORS)),
        ("RateLimitDescriptor", "/required", json!(["entries"])),
        ("RateLimitDescriptor", "/properties/entries/type", json!("array")),
        ("RateLimitDescriptor", "/properties/entries/minItems", json!(1)),
        ("RateLimitDescriptor", "/properties/entries/maxItems", json!(MAX_ENTRIES)),
        ("Entry", "/required", json!(["key"])),
        (
            "Entry",
            "/properties/key",
            json!({ "type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH }),
        ),
        ("RateLimitOverride", "/required", json!(["unit"])),
        ("RateLimitOverride", "/properties/unit/type", json!(["string", "integer"])),
    ];
    for (message, pointer, value) in bounds {
        let Some(message) = messages.get_mut(message) else { continue };
        let (parent, name) = pointer.rsplit_once('/').unwrap_or_default();
        if let Some(Value::Object(parent)) = message.pointer_mut(parent) {
            parent.insert(name.to_owned(), value);
        }
    }
    let units = messages
        .get_mut("RateLimitOverride")
        .and_then(|message| message.pointer_mut("/properties/unit/enum"));
    if let Some(Value::Array(units)) = units {
        units.retain(|unit| !unit.is_null() && unit != "UNKNOWN" && unit != 0);
    }
}
