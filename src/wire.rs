//! The only module that knows protobuf: from the decoded message to a [`Query`], from a [`Reply`] to the
//! message that goes out.

pub mod json;

use prost_types::value::Kind;
use prost_types::{Struct, Value};

use crate::clock::Nanos;
use crate::descriptor::{BadRequest, Entry, Hits, Query};
use crate::limit::{Bucket, LimitError, Period, Rate, TokenBucket, Unit};
use crate::reply::{Header, Metadata, Place, Reply, Status, StatusLimit};

use self::pb::envoy::config::core::v3::HeaderValue;
use self::pb::envoy::extensions::common::ratelimit::v3 as common;
use self::pb::envoy::service::ratelimit::v3 as rls;
use self::pb::envoy::r#type::v3::RateLimitUnit;
use self::rls::rate_limit_response::rate_limit::Unit as ReplyUnit;
use self::rls::rate_limit_response::{Code, DescriptorStatus, RateLimit};

pub use self::rls::rate_limit_service_client::RateLimitServiceClient;
pub use self::rls::rate_limit_service_server::{RateLimitService, RateLimitServiceServer};
pub use self::rls::{RateLimitRequest, RateLimitResponse};

/// What prost and tonic generate from `proto/`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction, unreachable_pub)]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/proto.rs"));
}

/// The compiled `proto/` files, comments included, as a serialized `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The full name of the service.
pub const SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";

/// The question in a message. Nothing is copied.
///
/// # Errors
/// [`BadRequest`] where it is no question; see [`Query`].
pub fn query(message: &RateLimitRequest) -> Result<Query<'_>, BadRequest> {
    let mut query = Query::new(&message.domain, message.descriptors.len())?;
    for (at, descriptor) in message.descriptors.iter().enumerate() {
        let entries = descriptor.entries.iter();
        let entries = entries.map(|entry| Entry { key: &entry.key, value: &entry.value });
        let limit = descriptor.limit.as_ref().map(|limit| brought_limit(limit, at)).transpose()?;
        query.add(entries, hits(descriptor, message.hits_addend), limit)?;
    }
    Ok(query)
}

/// A descriptor's own count if there is one, where 0 means to look; else the request's, where 0 means 1.
fn hits(descriptor: &common::RateLimitDescriptor, of_request: u32) -> Hits {
    let count = descriptor.hits_addend.unwrap_or_else(|| u64::from(of_request.max(1)));
    if descriptor.is_negative_hits { Hits::give_back(count) } else { Hits::charge(count) }
}

fn brought_limit(
    limit: &common::rate_limit_descriptor::RateLimitOverride,
    descriptor: usize,
) -> Result<Bucket, BadRequest> {
    let bad = |reason: String| BadRequest::Limit { descriptor, reason };
    let unit = match RateLimitUnit::try_from(limit.unit) {
        Ok(RateLimitUnit::Second) => Unit::Second,
        Ok(RateLimitUnit::Minute) => Unit::Minute,
        Ok(RateLimitUnit::Hour) => Unit::Hour,
        Ok(RateLimitUnit::Day) => Unit::Day,
        Ok(RateLimitUnit::Month) => Unit::Month,
        Ok(RateLimitUnit::Year) => Unit::Year,
        Ok(RateLimitUnit::Unknown) | Err(_) => {
            return Err(bad("unit must be one of SECOND, MINUTE, HOUR, DAY, MONTH, YEAR".into()));
        }
    };
    let bucket = || -> Result<TokenBucket, LimitError> {
        let period = Period::new(limit.unit_multiplier.unwrap_or(1), unit)?;
        TokenBucket::new(limit.requests_per_unit, Rate::new(limit.requests_per_unit, period)?)
    };
    bucket().map(Bucket::Tokens).map_err(|error| bad(error.to_string()))
}

/// The message of a reply.
pub fn response(reply: Reply) -> RateLimitResponse {
    let code = if reply.is_over_limit { Code::OverLimit } else { Code::Ok };
    RateLimitResponse {
        overall_code: code.into(),
        statuses: reply.statuses.into_iter().map(status).collect(),
        response_headers_to_add: reply.response_headers.into_iter().map(header).collect(),
        request_headers_to_add: reply.request_headers.into_iter().map(header).collect(),
        raw_body: reply.body.into_bytes(),
        dynamic_metadata: metadata(reply.metadata),
        quota: None,
    }
}

/// Whether a response says that the request must not pass.
pub const fn is_over_limit(response: &RateLimitResponse) -> bool {
    response.overall_code == Code::OverLimit as i32
}

fn status(status: Status) -> DescriptorStatus {
    let code = if status.is_over_limit { Code::OverLimit } else { Code::Ok };
    let Some(StatusLimit { name, requests, period, remaining, reset }) = status.limit else {
        return DescriptorStatus { code: code.into(), ..DescriptorStatus::default() };
    };
    let multiplier = period.map_or(1, |period| period.count().get());
    DescriptorStatus {
        code: code.into(),
        current_limit: Some(RateLimit {
            requests_per_unit: requests,
            unit: period.map_or(ReplyUnit::Unknown, |period| unit(period.unit())).into(),
            name,
            unit_multiplier: (multiplier > 1).then_some(multiplier),
        }),
        limit_remaining: remaining,
        duration_until_reset: Some(duration(reset)),
        quota: None,
    }
}

const fn unit(unit: Unit) -> ReplyUnit {
    match unit {
        Unit::Second => ReplyUnit::Second,
        Unit::Minute => ReplyUnit::Minute,
        Unit::Hour => ReplyUnit::Hour,
        Unit::Day => ReplyUnit::Day,
        Unit::Week => ReplyUnit::Week,
        Unit::Month => ReplyUnit::Month,
        Unit::Year => ReplyUnit::Year,
    }
}

fn duration(span: Nanos) -> prost_types::Duration {
    let (seconds, nanos) = (span.get() / 1_000_000_000, span.get() % 1_000_000_000);
    prost_types::Duration {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

fn header(Header { name, value }: Header) -> HeaderValue {
    HeaderValue { key: name.to_owned(), value: value.into_owned(), raw_value: Vec::new() }
}

fn metadata(metadata: Metadata) -> Option<Struct> {
    let mut fields = Struct::default().fields;
    if let Some(lease) = metadata.lease {
        fields.insert("lease".into(), text(lease));
    }
    if let Some(released) = metadata.released {
        let count = f64::from(u32::try_from(released).unwrap_or(u32::MAX));
        fields.insert("released".into(), Value { kind: Some(Kind::NumberValue(count)) });
    }
    if let Some(place) = metadata.denied_by {
        fields.extend(place_fields(place));
    }
    if !metadata.shadow.is_empty() {
        let places = metadata.shadow.into_iter().map(|place| {
            let fields = place_fields(place).into_iter().collect();
            Value { kind: Some(Kind::StructValue(Struct { fields })) }
        });
        let list = prost_types::ListValue { values: places.collect() };
        fields.insert("shadow".into(), Value { kind: Some(Kind::ListValue(list)) });
    }
    (!fields.is_empty()).then_some(Struct { fields })
}

fn place_fields(Place { table, row, bucket }: Place) -> [(String, Value); 3] {
    [("table".into(), text(table)), ("row".into(), text(row)), ("bucket".into(), text(bucket))]
}

const fn text(text: String) -> Value {
    Value { kind: Some(Kind::StringValue(text)) }
}

/// A request with one descriptor, as the `query` command sends it.
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

/// A response in lines for a person. Control characters are escaped: values come over the network.
pub fn tell(response: &RateLimitResponse) -> Vec<String> {
    let code = Code::try_from(response.overall_code).map_or("UNKNOWN", |code| code.as_str_name());
    let statuses = response.statuses.iter().map(tell_status);
    let headers = response.response_headers_to_add.iter().chain(&response.request_headers_to_add);
    let headers = headers.map(|HeaderValue { key, value, .. }| format!("{key}: {value}"));
    let body = (!response.raw_body.is_empty())
        .then(|| String::from_utf8_lossy(&response.raw_body).into_owned());
    let metadata = response.dynamic_metadata.iter().flat_map(|metadata| &metadata.fields);
    let metadata = metadata.filter_map(|(name, value)| match value.kind.as_ref()? {
        Kind::StringValue(text) => Some(format!("metadata {name}: {text}")),
        Kind::NumberValue(number) => Some(format!("metadata {name}: {number}")),
        Kind::ListValue(list) => {
            Some(format!("metadata {name}: {} would have denied", list.values.len()))
        }
        _ => None,
    });
    let details = statuses
        .chain(headers)
        .chain(body)
        .chain(metadata)
        .map(|line| format!("  {}", printable(&line)));
    std::iter::once(code.to_owned()).chain(details).collect()
}

fn tell_status(status: &DescriptorStatus) -> String {
    let Some(limit) = &status.current_limit else { return "no limit met".to_owned() };
    let unit = ReplyUnit::try_from(limit.unit).unwrap_or(ReplyUnit::Unknown);
    let rate = match (unit, limit.unit_multiplier.unwrap_or(1)) {
        (ReplyUnit::Unknown, _) => "at a time".to_owned(),
        (unit, 1) => format!("per {}", unit.as_str_name().to_lowercase()),
        (unit, count) => format!("per {count} {}s", unit.as_str_name().to_lowercase()),
    };
    let reset = status.duration_until_reset.unwrap_or_default();
    format!(
        "{}: {} {rate}, {} left, full in {}.{:03} s",
        limit.name,
        limit.requests_per_unit,
        status.limit_remaining,
        reset.seconds,
        reset.nanos / 1_000_000,
    )
}

fn printable(text: &str) -> String {
    let escape =
        |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}
