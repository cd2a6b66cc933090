//! A request as metadata of its answer, in the form of envoyproxy/ratelimit.

use super::pb::envoy::r#type::v3::RateLimitUnit;
use super::request::{DescriptorFields, Limit, Request, malformed};
use crate::descriptor::{BadRequest, Descriptor, Hits, Query};
use crate::policy::metadata::{Map, Value};
use crate::text;

/// The domain, the descriptors and the hits of a message that [`decode`](super::decode) has read. Values are made valid
/// UTF-8. Envoy keeps metadata to itself, unless it is configured to write them into a header.
pub fn request_fields(message: &[u8]) -> Map {
    // It was read before.
    read(message).unwrap_or_default()
}

#[cold] // Few deployments have it.
fn read(message: &[u8]) -> Result<Map, BadRequest> {
    let request = Request::read(message).map_err(malformed)?;
    let mut query = Query::default();
    query.begin(request.domain, request.descriptors.len())?;
    let mut all = Vec::new();
    for bytes in &request.descriptors {
        all.push(DescriptorFields::read(bytes, &mut query).map_err(malformed)?);
        query.close(Hits::PEEK, None)?;
    }
    let descriptors = query.descriptors().zip(&all);
    let descriptors: Box<[_]> = descriptors.map(|(of, fields)| descriptor(of, fields)).collect();
    let mut fields = vec![
        ("domain".into(), Value::Text(request.domain.as_str().into())),
        ("descriptors".into(), Value::List(descriptors)),
    ];
    if request.hits_addend > 0 {
        fields.push(("hitsAddend".into(), Value::Number(request.hits_addend.into())));
    }
    Ok(fields.into_iter().collect())
}

fn descriptor(of: Descriptor<'_>, fields: &DescriptorFields) -> Value {
    let entries = of.entries().iter().map(|entry| {
        let text = format!("{}={}", entry.key.as_str(), text::decode(entry.value));
        Value::Text(text.into())
    });
    let entries = ("entries".into(), Value::List(entries.collect()));
    #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "as a Struct has it")]
    let hits = fields.hits_addend.map(|hits| ("hitsAddend".into(), Value::Number(hits as f64)));
    let limit = fields.limit.as_ref().map(limit);
    let limit = limit.map(|limit| ("limit".into(), Value::Text(limit.into())));
    Value::Map([Some(entries), hits, limit].into_iter().flatten().collect())
}

/// A limit in protobuf's text format.
fn limit(Limit { requests_per_unit, unit, unit_multiplier }: &Limit) -> String {
    let mut fields = Vec::new();
    if *requests_per_unit > 0 {
        fields.push(format!("requests_per_unit:{requests_per_unit}"));
    }
    let known = i32::try_from(*unit).ok().and_then(|unit| RateLimitUnit::try_from(unit).ok());
    match known {
        Some(RateLimitUnit::Unknown) => {}
        Some(known) => fields.push(format!("unit:{}", known.as_str_name())),
        None => fields.push(format!("unit:{unit}")),
    }
    match unit_multiplier {
        None => {}
        Some(0) => fields.push("unit_multiplier:{}".to_owned()),
        Some(count) => fields.push(format!("unit_multiplier:{{value:{count}}}")),
    }
    fields.join(" ")
}
