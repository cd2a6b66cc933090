//! The messages of Envoy. Beside `xds`, the only module that knows protobuf: decodes a [`Query`](crate::descriptor::Query) and encodes a
//! [`Reply`](crate::reply::Reply).

mod echo;
mod fields;
pub mod frame;
pub mod json;
pub mod quota;
mod request;
mod response;
pub mod schema;
#[cfg(test)]
pub(crate) mod support;

use prost_types::value::Kind;

use self::pb::envoy::config::core::v3::HeaderValue;
use self::pb::envoy::extensions::common::ratelimit::v3 as common;
use self::pb::envoy::service::ratelimit::v3 as rls;
use self::rls::rate_limit_response::rate_limit::Unit as ReplyUnit;
use self::rls::rate_limit_response::{Code, DescriptorStatus};

pub use self::echo::request_fields;
pub use self::request::{decode, decode_into};
pub use self::response::{encode_framed, encode_place};
pub use self::rls::rate_limit_service_client::RateLimitServiceClient;
pub use self::rls::{RateLimitRequest, RateLimitResponse};
use crate::text;

/// The code that prost and tonic generate from `proto/`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction, unreachable_pub)]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/proto.rs"));
}

/// The compiled `proto/` files, comments included, as a serialized `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The full name of the service.
pub const SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";

/// Whether a response denies the request.
pub const fn is_over_limit(response: &RateLimitResponse) -> bool {
    response.overall_code == Code::OverLimit as i32
}

/// A request with one descriptor.
pub fn request(
    domain: &str,
    entries: impl Iterator<Item = (String, String)>,
    hits: u64,
    is_negative: bool,
) -> RateLimitRequest {
    let entry = |(key, value)| common::rate_limit_descriptor::Entry { key, value };
    RateLimitRequest {
        domain: domain.to_owned(),
        descriptors: vec![common::RateLimitDescriptor {
            entries: entries.map(entry).collect(),
            limit: None,
            hits_addend: Some(hits),
            is_negative_hits: is_negative,
        }],
        hits_addend: 0,
    }
}

/// Describes a response for display: its code, and lines of details. Control characters are escaped, since values come
/// over the network. `without_limit` is said of a descriptor whose status has no limit: the response does not tell why.
pub fn describe(response: &RateLimitResponse, without_limit: &str) -> (&'static str, Vec<String>) {
    let code = Code::try_from(response.overall_code).map_or("UNKNOWN", |code| code.as_str_name());
    let statuses = response.statuses.iter().map(|status| describe_status(status, without_limit));
    let headers = response.response_headers_to_add.iter().chain(&response.request_headers_to_add);
    let headers = headers.map(|HeaderValue { key, value, .. }| format!("{key}: {value}"));
    let body = (!response.raw_body.is_empty())
        .then(|| String::from_utf8_lossy(&response.raw_body).into_owned());
    let metadata = response.dynamic_metadata.iter().flat_map(|metadata| &metadata.fields);
    let metadata = metadata.flat_map(|(name, value)| match value.kind.as_ref() {
        Some(Kind::StringValue(text)) => vec![format!("metadata {name}: {text}")],
        Some(Kind::NumberValue(number)) => vec![format!("metadata {name}: {number}")],
        Some(Kind::ListValue(list)) => {
            let places = list.values.iter().map(describe_place);
            places.map(|place| format!("metadata {name}: {place} would have denied")).collect()
        }
        _ => Vec::new(),
    });
    let details = statuses
        .chain(headers)
        .chain(body)
        .chain(metadata)
        .map(|line| format!("  {}", text::printable(&line)));
    (code, details.collect())
}

/// A bucket that metadata names: table, row and bucket.
fn describe_place(place: &prost_types::Value) -> String {
    let Some(Kind::StructValue(place)) = &place.kind else { return String::new() };
    let text = |name| match place.fields.get(name).and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(text)) => text.as_str(),
        _ => "",
    };
    format!("{}/{} ({})", text("table"), text("row"), text("bucket"))
}

fn describe_status(status: &DescriptorStatus, without_limit: &str) -> String {
    let Some(limit) = &status.current_limit else {
        // So a descriptor tree says it.
        let is_unlimited = status.limit_remaining == u32::MAX;
        return if is_unlimited { "unlimited" } else { without_limit }.to_owned();
    };
    let name = match &*limit.name {
        "" => String::new(),
        name => format!("{name}: "),
    };
    let reset = status.duration_until_reset;
    // tollgate sends whole seconds.
    let seconds = |reset: prost_types::Duration| format!("{} s", reset.seconds);
    if limit.requests_per_unit == 0 {
        let end = reset.map(|reset| format!(" for {}", seconds(reset)));
        return format!("{name}blocked{}", end.unwrap_or_default());
    }
    let unit = ReplyUnit::try_from(limit.unit).unwrap_or(ReplyUnit::Unknown);
    let rate = match (unit, limit.unit_multiplier.unwrap_or(1)) {
        (ReplyUnit::Unknown, _) => "at a time".to_owned(),
        (unit, 1) => format!("per {}", unit.as_str_name().to_lowercase()),
        (unit, count) => format!("per {count} {}s", unit.as_str_name().to_lowercase()),
    };
    format!(
        "{name}{} {rate}, {} left, full in {}",
        limit.requests_per_unit,
        status.limit_remaining,
        seconds(reset.unwrap_or_default()),
    )
}
