//! The messages in protobuf's JSON mapping, by reflection over the compiled protos. For people and scripts; not fast.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{
    DescriptorError, DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor,
    SerializeOptions,
};

use serde::de::Error as _;
use serde_json::Value;

use super::{DESCRIPTORS, RateLimitResponse};

static POOL: LazyLock<Result<DescriptorPool, DescriptorError>> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS));

/// Why a message cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// It is not JSON, or not a RateLimitRequest.
    #[error("not a RateLimitRequest in JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The message is not in the protos that are compiled into the program.
    #[error("the message is not in the compiled protos")]
    Protos,
    /// The protobuf bytes cannot be decoded.
    #[error("the message cannot be decoded: {0}")]
    Decode(#[from] prost::DecodeError),
}

pub(super) fn descriptor(name: &str) -> Result<MessageDescriptor, JsonError> {
    let pool = POOL.as_ref().map_err(|_| JsonError::Protos)?;
    let name = format!("envoy.service.ratelimit.v3.{name}");
    pool.get_message_by_name(&name).ok_or(JsonError::Protos)
}

/// Converts a request from JSON to protobuf bytes. Field names may be in camel case or as in the proto; unknown names
/// are an error.
///
/// # Errors
/// [`JsonError::Json`] if it is not a RateLimitRequest in JSON.
pub fn decode_request(json: &[u8]) -> Result<Vec<u8>, JsonError> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let options = DeserializeOptions::new();
    let message = DynamicMessage::deserialize_with_options(
        descriptor("RateLimitRequest")?,
        &mut reader,
        &options,
    )?;
    reader.end()?;
    if has_too_large(&serde_json::from_slice(json)?) {
        return Err(serde_json::Error::custom("a number exceeds 64 bits").into());
    }
    Ok(message.encode_to_vec())
}

/// Whether a number is 2^64 or more. serde_json parses it as a float, and prost-reflect would read 2^64 as 2^64 - 1.
fn has_too_large(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            number.is_f64() && number.as_f64().is_some_and(|number| number >= 2_f64.powi(64))
        }
        Value::Array(values) => values.iter().any(has_too_large),
        Value::Object(fields) => fields.values().any(has_too_large),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// Converts a response from protobuf bytes to JSON. Fields with their default value are omitted, as in protobuf's JSON.
///
/// # Errors
/// Never in practice.
pub fn encode_response(response: &[u8]) -> Result<String, JsonError> {
    let mut message = DynamicMessage::new(descriptor("RateLimitResponse")?);
    message.merge(response)?;
    let options = SerializeOptions::new().skip_default_fields(true);
    let mut writer = serde_json::Serializer::new(Vec::new());
    message.serialize_with_options(&mut writer, &options)?;
    Ok(String::from_utf8_lossy(&writer.into_inner()).into_owned())
}

/// Converts a response to JSON.
///
/// # Errors
/// Never in practice.
pub fn encode(response: &RateLimitResponse) -> Result<String, JsonError> {
    encode_response(&response.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_64_bits_is_read_and_no_larger_one() {
        let of = |hits: &str| {
            let descriptor = format!(r#"{{"entries":[{{"key":"k"}}],"hitsAddend":{hits}}}"#);
            decode_request(format!(r#"{{"domain":"d","descriptors":[{descriptor}]}}"#).as_bytes())
        };
        for right in ["0", "18446744073709551615", "\"18446744073709551615\"", "2.0"] {
            assert!(of(right).is_ok(), "{right}");
        }
        for wrong in ["18446744073709551616", "1e20", "-1", "1.5", "\"18446744073709551616\""] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
