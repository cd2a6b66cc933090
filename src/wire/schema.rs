//! JSON Schemas of the messages in protobuf's JSON mapping, from the compiled protos.

use prost_reflect::{Cardinality, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::json::{JsonError, descriptor};

/// Adds the schemas of a message of Envoy's rate limit service and of its parts to `schemas`, by their names, to which
/// `#/components/schemas/NAME` refers. Fields are those of protobuf's JSON: in camel case, 64-bit numbers as text or as
/// numbers, and each of them optional or null.
///
/// # Errors
/// [`JsonError::Protos`] if there is no such message.
pub fn add(name: &str, schemas: &mut Map<String, Value>) -> Result<(), JsonError> {
    message(&descriptor(name)?, schemas);
    Ok(())
}

/// Adds the schema of a message, and returns a reference to it.
fn message(of: &MessageDescriptor, schemas: &mut Map<String, Value>) -> Value {
    let name = of.name().to_owned();
    let reference = json!({ "$ref": format!("#/components/schemas/{name}") });
    if schemas.contains_key(&name) {
        return reference;
    }
    // A message may contain itself.
    schemas.insert(name.clone(), Value::Null);
    let fields = of.fields().map(|of| (of.json_name().to_owned(), field(&of, schemas)));
    let properties: Map<_, _> = fields.collect();
    let schema = json!({
        "description": of.full_name(),
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    schemas.insert(name, schema);
    reference
}

fn field(of: &FieldDescriptor, schemas: &mut Map<String, Value>) -> Value {
    if of.is_map() {
        return json!({ "type": ["object", "null"] });
    }
    let value = value(&of.kind(), schemas);
    match of.cardinality() {
        Cardinality::Repeated => json!({ "type": ["array", "null"], "items": value }),
        Cardinality::Optional | Cardinality::Required => or_null(value),
    }
}

/// Allows null, which protobuf's JSON reads as an absent field.
fn or_null(mut schema: Value) -> Value {
    match schema.get_mut("type") {
        Some(Value::Array(types)) => types.push("null".into()),
        Some(kind) => *kind = json!([kind.take(), "null"]),
        None => return json!({ "anyOf": [schema, { "type": "null" }] }),
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.push(Value::Null);
    }
    schema
}

fn value(kind: &Kind, schemas: &mut Map<String, Value>) -> Value {
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::String => json!({ "type": "string" }),
        Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
        Kind::Double | Kind::Float => json!({ "type": ["number", "string"] }),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => signed(32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => signed(64),
        Kind::Uint32 | Kind::Fixed32 => unsigned(u32::MAX.into()),
        Kind::Uint64 | Kind::Fixed64 => unsigned(u64::MAX),
        Kind::Enum(of) => names(of),
        Kind::Message(of) => well_known(of).unwrap_or_else(|| message(of, schemas)),
    }
}

fn signed(bits: u8) -> Value {
    json!({ "type": ["integer", "string"], "format": format!("int{bits}"), "pattern": "^-?[0-9]+$" })
}

fn unsigned(max: u64) -> Value {
    json!({ "type": ["integer", "string"], "minimum": 0, "maximum": max, "pattern": "^[0-9]{1,9}$" })
}

fn names(of: &EnumDescriptor) -> Value {
    let names: Vec<_> = of.values().map(|value| value.name().to_owned()).collect();
    let numbers = of.values().map(|value| value.number().into());
    let values: Vec<Value> = names.into_iter().map(Value::String).chain(numbers).collect();
    json!({ "type": ["string", "integer"], "enum": values })
}

/// The schemas of messages that have a JSON form of their own.
fn well_known(of: &MessageDescriptor) -> Option<Value> {
    Some(match of.full_name().strip_prefix("google.protobuf.")? {
        "Duration" => json!({ "type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$" }),
        "Timestamp" => json!({ "type": "string", "format": "date-time" }),
        "Struct" => json!({ "type": "object" }),
        "UInt32Value" => unsigned(u32::MAX.into()),
        "UInt64Value" => unsigned(u64::MAX),
        "BoolValue" => json!({ "type": "boolean" }),
        "StringValue" => json!({ "type": "string" }),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_to_a_schema_and_names_are_those_of_json() {
        let mut schemas = Map::new();
        add("RateLimitRequest", &mut schemas).unwrap();
        add("RateLimitResponse", &mut schemas).unwrap();
        assert!(add("NoSuchMessage", &mut schemas).is_err());
        let text = Value::Object(schemas.clone()).to_string();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.get(name).is_some_and(Value::is_object), "{name}");
        }
        let descriptor = &schemas["RateLimitDescriptor"]["properties"];
        assert_eq!(descriptor["isNegativeHits"]["type"], json!(["boolean", "null"]));
        let units = schemas["RateLimitOverride"]["properties"]["unit"]["enum"].clone();
        assert!(units.as_array().unwrap().contains(&json!("SECOND")), "{units}");
    }
}
