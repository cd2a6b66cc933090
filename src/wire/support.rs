//! Messages for tests of other modules.

use prost::Message;
use prost_types::value::Kind;
use serde_json::Value as Json;

pub(crate) use super::common::RateLimitDescriptor;
use super::common::rate_limit_descriptor::{Entry, RateLimitOverride};
pub(crate) use super::rls::rate_limit_response::rate_limit::Unit as ReplyUnit;
pub(crate) use super::rls::rate_limit_response::{Code, DescriptorStatus};
use super::{RateLimitRequest, RateLimitResponse};

/// A request for these descriptors; 0 `hits` are none given.
pub(crate) fn request(
    domain: &str,
    descriptors: impl IntoIterator<Item = RateLimitDescriptor>,
    hits: u32,
) -> RateLimitRequest {
    let descriptors = descriptors.into_iter().collect();
    RateLimitRequest { domain: domain.to_owned(), descriptors, hits_addend: hits }
}

/// A descriptor, with the hits of the request.
pub(crate) fn descriptor(entries: &[[&str; 2]]) -> RateLimitDescriptor {
    let entry =
        |[key, value]: &[&str; 2]| Entry { key: (*key).to_owned(), value: (*value).to_owned() };
    RateLimitDescriptor {
        entries: entries.iter().map(entry).collect(),
        ..RateLimitDescriptor::default()
    }
}

impl RateLimitDescriptor {
    pub(crate) fn hits(self, hits: u64) -> Self {
        Self { hits_addend: Some(hits), ..self }
    }

    pub(crate) fn giving_back(self) -> Self {
        Self { is_negative_hits: true, ..self }
    }

    /// With a limit of this number and the number of its unit.
    pub(crate) fn with_limit(self, requests_per_unit: u32, unit: i32) -> Self {
        let limit = RateLimitOverride { requests_per_unit, unit, unit_multiplier: None };
        Self { limit: Some(limit), ..self }
    }
}

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
