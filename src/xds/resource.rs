//! From a resource to the mirror of a ratelimit configuration.

use prost::Message;
use prost_types::value::Kind;
use prost_types::{Any, Struct, Value};

use super::pb::ratelimit::config::ratelimit::v3 as wire;
use crate::config::ratelimit::schema::{Descriptor, Place, RateLimit, RateLimitConfig};
use crate::policy::metadata;
use crate::text;

/// The type of the resources.
pub(super) const TYPE_URL: &str =
    "type.googleapis.com/ratelimit.config.ratelimit.v3.RateLimitConfig";

/// Reads a resource, which is number `at` of its response, from 0.
///
/// # Errors
/// If it is no `RateLimitConfig`.
pub(super) fn read(resource: &Any, at: usize) -> Result<RateLimitConfig, String> {
    let number = at + 1;
    if resource.type_url != TYPE_URL {
        let other = text::sanitize(&resource.type_url);
        return Err(format!("resource {number}: it is a `{other}`; send `{TYPE_URL}` only"));
    }
    let config = wire::RateLimitConfig::decode(&*resource.value).map_err(|error| {
        format!("resource {number}: it is not a valid RateLimitConfig: {error}")
    })?;
    let wire::RateLimitConfig { name, domain, descriptors } = config;
    let source = match (&*name, &*domain) {
        ("", "") => format!("resource {number}"),
        ("", name) | (name, _) => text::sanitize(name).into_string(),
    };
    let place = Place::default();
    Ok(RateLimitConfig { source, domain, descriptors: nodes(descriptors, &place), place })
}

/// The nodes below the one at this place. Their depth is bounded: prost reads 100 messages in one another.
fn nodes(descriptors: Vec<wire::RateLimitDescriptor>, place: &Place) -> Vec<Descriptor> {
    let at = |(at, descriptor)| node(descriptor, place.descriptor(at));
    descriptors.into_iter().enumerate().map(at).collect()
}

fn node(descriptor: wire::RateLimitDescriptor, place: Place) -> Descriptor {
    Descriptor {
        key: descriptor.key,
        value: descriptor.value,
        rate_limit: descriptor.rate_limit.map(limit),
        shadow_mode: descriptor.shadow_mode,
        quota_mode: descriptor.quota_mode,
        detailed_metric: descriptor.detailed_metric,
        // Neither can be said in a resource.
        value_to_metric: false,
        share_threshold: false,
        metadata: descriptor.metadata.map(map),
        descriptors: nodes(descriptor.descriptors, &place),
        place,
    }
}

fn limit(policy: wire::RateLimitPolicy) -> RateLimit {
    let unit = wire::RateLimitUnit::try_from(policy.unit);
    let unit = unit.map_or_else(|_| policy.unit.to_string(), |unit| unit.as_str_name().to_owned());
    RateLimit {
        unit,
        requests_per_unit: policy.requests_per_unit,
        unlimited: policy.unlimited,
        name: policy.name,
        replaces: policy.replaces.into_iter().map(|replaced| replaced.name).collect(),
    }
}

/// The entries of a struct, which prost has sorted by their keys.
fn map(fields: Struct) -> metadata::Map {
    let fields = fields.fields.into_iter().map(|(key, of)| (key.into_boxed_str(), value(of)));
    metadata::Map(fields.collect())
}

fn value(of: Value) -> metadata::Value {
    match of.kind {
        None | Some(Kind::NullValue(_)) => metadata::Value::Null,
        Some(Kind::BoolValue(is)) => metadata::Value::Bool(is),
        Some(Kind::NumberValue(number)) => metadata::Value::Number(number),
        Some(Kind::StringValue(text)) => metadata::Value::Text(text.into_boxed_str()),
        Some(Kind::ListValue(list)) => {
            metadata::Value::List(list.values.into_iter().map(value).collect())
        }
        Some(Kind::StructValue(fields)) => metadata::Value::Map(map(fields)),
    }
}

/// A resource with this content.
#[cfg(test)]
pub(super) fn of(config: &wire::RateLimitConfig) -> Any {
    Any { type_url: TYPE_URL.to_owned(), value: config.encode_to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_read_field_by_field() {
        let kind = |kind| Value { kind: Some(kind) };
        let list = prost_types::ListValue { values: vec![kind(Kind::NumberValue(1.5))] };
        let inner = Struct { fields: [("x".to_owned(), Value { kind: None })].into() };
        let metadata = Struct {
            fields: [
                ("b".to_owned(), kind(Kind::BoolValue(true))),
                ("a".to_owned(), kind(Kind::StringValue("text".to_owned()))),
                ("d".to_owned(), kind(Kind::StructValue(inner))),
                ("c".to_owned(), kind(Kind::ListValue(list))),
            ]
            .into(),
        };
        let inner = wire::RateLimitDescriptor {
            key: "inner".to_owned(),
            rate_limit: Some(wire::RateLimitPolicy {
                unit: 7,
                requests_per_unit: 5,
                unlimited: true,
                name: "five".to_owned(),
                replaces: vec![wire::RateLimitReplace { name: "four".to_owned() }],
            }),
            quota_mode: true,
            metadata: Some(metadata),
            ..Default::default()
        };
        let outer = wire::RateLimitDescriptor {
            key: "outer".to_owned(),
            value: "1*".to_owned(),
            descriptors: vec![wire::RateLimitDescriptor::default(), inner],
            shadow_mode: true,
            detailed_metric: true,
            ..Default::default()
        };
        let config = wire::RateLimitConfig {
            name: "na\nme".to_owned(),
            domain: "d".to_owned(),
            descriptors: vec![outer],
        };
        let config = read(&of(&config), 0).unwrap();
        assert_eq!((&*config.source, &*config.domain), ("na\\nme", "d"));
        let [outer] = &*config.descriptors else { panic!("{config:?}") };
        assert_eq!((&*outer.key, &*outer.value), ("outer", "1*"));
        assert_eq!(outer.place.to_string(), "descriptors[0]");
        let flags = |of: &Descriptor| {
            [
                of.shadow_mode,
                of.quota_mode,
                of.detailed_metric,
                of.value_to_metric,
                of.share_threshold,
            ]
        };
        assert_eq!(flags(outer), [true, false, true, false, false]);
        assert!(outer.rate_limit.is_none() && outer.metadata.is_none());
        let [_, inner] = &*outer.descriptors else { panic!("{outer:?}") };
        assert_eq!(inner.place.to_string(), "descriptors[0].descriptors[1]");
        assert_eq!(flags(inner), [false, true, false, false, false]);
        let limit = inner.rate_limit.as_ref().unwrap();
        assert_eq!((&*limit.unit, limit.requests_per_unit), ("WEEK", 5));
        assert_eq!((limit.unlimited, &*limit.name), (true, "five"));
        assert_eq!(limit.replaces, ["four"]);
        let metadata::Map(metadata) = inner.metadata.as_ref().unwrap();
        let inner = metadata::Map(Box::new([("x".into(), metadata::Value::Null)]));
        let expected: [(Box<str>, _); 4] = [
            ("a".into(), metadata::Value::Text("text".into())),
            ("b".into(), metadata::Value::Bool(true)),
            ("c".into(), metadata::Value::List(Box::new([metadata::Value::Number(1.5)]))),
            ("d".into(), metadata::Value::Map(inner)),
        ];
        assert_eq!(**metadata, expected);
    }

    #[test]
    fn a_unit_is_told_by_its_name_or_else_by_its_number() {
        let names =
            (0..9).map(|unit| limit(wire::RateLimitPolicy { unit, ..Default::default() }).unit);
        let expected = ["UNKNOWN", "SECOND", "MINUTE", "HOUR", "DAY", "MONTH", "YEAR", "WEEK", "8"];
        assert_eq!(names.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_no_configuration_is_told_with_its_number() {
        let other = Any { type_url: "type.googleapis.com/a.B\n".to_owned(), value: Vec::new() };
        let error = read(&other, 4).unwrap_err();
        assert!(error.starts_with("resource 5: it is a `type.googleapis.com/a.B\\n`; "), "{error}");
        let broken = Any { type_url: TYPE_URL.to_owned(), value: vec![0x0a, 0x7f] };
        let error = read(&broken, 0).unwrap_err();
        assert!(error.starts_with("resource 1: it is not a valid RateLimitConfig: "), "{error}");
        let mut deep = wire::RateLimitDescriptor::default();
        for _ in 0..200 {
            deep = wire::RateLimitDescriptor { descriptors: vec![deep], ..Default::default() };
        }
        let deep = wire::RateLimitConfig { descriptors: vec![deep], ..Default::default() };
        let error = read(&of(&deep), 0).unwrap_err();
        assert!(error.contains("recursion"), "{error}");
    }
}
