//! The same messages in protobuf's JSON mapping, by reflection over the compiled protos. For people and
//! scripts; not fast.

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
    /// Not JSON, or not of the message's shape.
    #[error("not a RateLimitRequest in JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The compiled protos lack the message; they are part of the program.
    #[error("the message is not among the program's own protos")]
    Protos,
    /// What was read cannot be read again as protobuf.
    #[error("the message cannot be converted: {0}")]
    Decode(#[from] prost::DecodeError),
}

pub(super) fn descriptor(name: &str) -> Result<MessageDescriptor, JsonError> {
    let pool = POOL.as_ref().map_err(|_| JsonError::Protos)?;
    let name = format!("envoy.service.ratelimit.v3.{name}");
    pool.get_message_by_name(&name).ok_or(JsonError::Protos)
}

/// Reads a request, as its bytes. Field names may be in camel case or as in the proto; unknown ones are an
/// error.
///
/// # Errors
/// [`JsonError::Json`] where it is none.
pub fn request(json: &[u8]) -> Result<Vec<u8>, JsonError> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let options = DeserializeOptions::new();
    let message = DynamicMessage::deserialize_with_options(
        descriptor("RateLimitRequest")?,
        &mut reader,
        &options,
    )?;
    reader.end()?;
    if has_too_large(&serde_json::from_slice(json)?) {
        return Err(serde_json::Error::custom("a number is more than 64 bits hold").into());
    }
    Ok(message.encode_to_vec())
}

/// Whether a number is 2^64 or more, which has been read as a fraction: prost-reflect takes 2^64 for the number before.
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

/// Writes a response, from its bytes. Fields at their default are left out, as protobuf's JSON does.
///
/// # Errors
/// Never in practice.
pub fn response(response: &[u8]) -> Result<String, JsonError> {
    let mut message = DynamicMessage::new(descriptor("RateLimitResponse")?);
    message.merge(response)?;
    let options = SerializeOptions::new().skip_default_fields(true);
    let mut writer = serde_json::Serializer::new(Vec::new());
    message.serialize_with_options(&mut writer, &options)?;
    Ok(String::from_utf8_lossy(&writer.into_inner()).into_owned())
}

/// Writes a response.
///
/// # Errors
/// Never in practice.
pub fn of(response: &RateLimitResponse) -> Result<String, JsonError> {
    self::response(&response.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_64_bits_is_read_and_no_larger_one() {
        let of = |hits: &str| {
            let descriptor = format!(r#"{{"entries":[{{"key":"k"}}],"hitsAddend":{hits}}}"#);
            request(format!(r#"{{"domain":"d","descriptors":[{descriptor}]}}"#).as_bytes())
        };
        for right in ["0", "18446744073709551615", "\"18446744073709551615\"", "2.0"] {
            assert!(of(right).is_ok(), "{right}");
        }
        for wrong in ["18446744073709551616", "1e20", "-1", "1.5", "\"18446744073709551616\""] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
