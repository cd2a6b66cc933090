//! Messages for tests of other modules.

use prost::Message;
use prost_types::value::Kind;
use serde_json::Value as Json;

pub(crate) use super::common::RateLimitDescriptor;
pub(crate) use super::common::rate_limit_descriptor::{Entry, RateLimitOverride};
pub(crate) use super::rls::rate_limit_response::rate_limit::Unit as ReplyUnit;
pub(crate) use super::rls::rate_limit_response::{Code, DescriptorStatus};
use super::{RateLimitRequest, RateLimitResponse};

pub(crate) fn encode(request: &RateLimitRequest) -> Vec<u8> {
    request.encode_to_vec()
}

pub(crate) fn decode(response: &[u8]) -> RateLimitResponse {
    RateLimitResponse::decode(response).unwrap()
}

/// The dynamic metadata of a response.
pub(crate) fn metadata(response: &RateLimitResponse) -> Json {
    object(response.dynamic_metadata.as_ref().unwrap())
}

fn object(of: &prost_types::Struct) -> Json {
    let fields = of.fields.iter().map(|(key, value)| (key.clone(), json(value)));
    Json::Object(fields.collect())
}

fn json(value: &prost_types::Value) -> Json {
    match value.kind.as_ref().unwrap() {
        Kind::NullValue(_) => Json::Null,
        Kind::NumberValue(number) => (*number).into(),
        Kind::StringValue(text) => text.as_str().into(),
        Kind::BoolValue(is_true) => (*is_true).into(),
        Kind::StructValue(fields) => object(fields),
        Kind::ListValue(list) => list.values.iter().map(json).collect(),
    }
}
