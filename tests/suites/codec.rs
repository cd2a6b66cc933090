//! What reads and writes messages in place, against prost, which does it by the book.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

use proptest::prelude::*;
use prost::Message;
use tollgate::descriptor::{BadRequest, Hits, Query};
use tollgate::limit::{Bucket, Period, Unit};
use tollgate::reply::{Body, Header, HeaderValue, Metadata, Place, Reply, Status, StatusLimit};
use tollgate::wire::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::RateLimitOverride;
use tollgate::wire::{self, RateLimitResponse};

/// A RateLimitRequest as it is read: with values of any bytes, where the proto says `string`.
#[derive(Clone, PartialEq, Message)]
struct RateLimitRequest {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(message, repeated, tag = "2")]
    descriptors: Vec<RateLimitDescriptor>,
    #[prost(uint32, tag = "3")]
    hits_addend: u32,
}

#[derive(Clone, PartialEq, Message)]
struct RateLimitDescriptor {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<Entry>,
    #[prost(message, optional, tag = "2")]
    limit: Option<RateLimitOverride>,
    #[prost(message, optional, tag = "3")]
    hits_addend: Option<u64>,
    #[prost(bool, tag = "4")]
    is_negative_hits: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// What a query must say if prost reads this message.
fn assert_same(query: &Query<'_>, message: &RateLimitRequest) {
    assert_eq!(query.domain(), *message.domain);
    assert_eq!(query.len(), message.descriptors.len());
    for (read, sent) in query.descriptors().zip(&message.descriptors) {
        let entries: Vec<_> =
            read.entries().iter().map(|entry| (entry.key.as_str(), entry.value)).collect();
        let expected: Vec<_> =
            sent.entries.iter().map(|entry| (&*entry.key, &*entry.value)).collect();
        assert_eq!(entries, expected);
        let count = sent.hits_addend.unwrap_or_else(|| message.hits_addend.max(1).into());
        let hits = if sent.is_negative_hits { Hits::give_back(count) } else { Hits::charge(count) };
        assert_eq!(read.hits(), hits);
        let limit = sent.limit.as_ref().map(|limit| {
            let multiplier = limit.unit_multiplier.unwrap_or(1).max(1);
            let requests = limit.requests_per_unit;
            (requests > 0).then_some((requests, limit.unit, multiplier))
        });
        let brought = read.limit_override().map(|limit| match limit.tokens() {
            Bucket::Tokens(bucket) => {
                let period = bucket.rate().period();
                let unit = match period.unit() {
                    Unit::Second => 1,
                    Unit::Minute => 2,
                    Unit::Hour => 3,
                    Unit::Day => 4,
                    Unit::Month => 5,
                    Unit::Year => 6,
                    Unit::Week => 7,
                };
                Some((bucket.size().get(), unit, period.count().get()))
            }
            Bucket::Blocked(_) => None,
            Bucket::Concurrency(_) | Bucket::Window(_) => panic!("Envoy brings tokens"),
        });
        assert_eq!(brought, limit);
    }
}

/// Whatever the bytes: what prost cannot read is refused as malformed, what it can is read the same.
fn check(bytes: &[u8]) {
    match (RateLimitRequest::decode(bytes), wire::decode(bytes)) {
        (Ok(message), Ok(query)) => assert_same(&query, &message),
        (Ok(_), Err(BadRequest::Malformed(error))) => panic!("prost reads what we do not: {error}"),
        (Ok(message), Err(BadRequest::NoDomain)) => assert!(message.domain.is_empty()),
        (Ok(message), Err(BadRequest::NoDescriptors)) => assert!(message.descriptors.is_empty()),
        // The others have tests of their own.
        (Ok(_), Err(_)) => {}
        // Found before the malformed part is come to.
        (Err(_), Err(_)) => {}
        (Err(error), Ok(_)) => panic!("we read what prost does not: {error}"),
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{0,8}", "\\PC{0,20}", Just("lease".to_owned()), Just("x".repeat(200))]
}

fn descriptor() -> impl Strategy<Value = RateLimitDescriptor> {
    let value = prop_oneof![
        text().prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..20)
    ];
    let entry = (text(), value).prop_map(|(key, value)| Entry { key, value });
    let limit = (0_u32..50, -1_i32..8, proptest::option::of(0_u32..4));
    let limit = limit.prop_map(|(requests_per_unit, unit, unit_multiplier)| RateLimitOverride {
        requests_per_unit,
        unit,
        unit_multiplier,
    });
    let hits = proptest::option::of(prop_oneof![0_u64..10, Just(u64::MAX), Just(1 << 63)]);
    (proptest::collection::vec(entry, 0..6), proptest::option::of(limit), hits, any::<bool>())
        .prop_map(|(entries, limit, hits_addend, is_negative_hits)| RateLimitDescriptor {
            entries,
            limit,
            hits_addend,
            is_negative_hits,
        })
}

fn message() -> impl Strategy<Value = RateLimitRequest> {
    (text(), proptest::collection::vec(descriptor(), 0..4), any::<u32>()).prop_map(
        |(domain, descriptors, hits_addend)| RateLimitRequest { domain, descriptors, hits_addend },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_message_is_read_as_prost_reads_it(message in message()) {
        check(&message.encode_to_vec());
    }

    /// Two messages one behind the other are one message with all their fields, merged.
    #[test]
    fn messages_are_merged_as_prost_merges_them(first in message(), second in message()) {
        check(&[first.encode_to_vec(), second.encode_to_vec()].concat());
        let [mut a, mut b] = [first, second].map(|message| message.descriptors.into_iter());
        if let (Some(a), Some(b)) = (a.next(), b.next()) {
            let merged = [a.encode_to_vec(), b.encode_to_vec()].concat();
            let mut bytes = vec![0x0a, 1, b'd', 0x12];
            prost::encoding::encode_varint(merged.len() as u64, &mut bytes);
            bytes.extend(merged);
            check(&bytes);
        }
    }

    #[test]
    fn a_damaged_message_is_refused_where_prost_refuses_it(
        message in message(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = message.encode_to_vec();
        if !bytes.is_empty() {
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
        }
        check(&bytes);
    }

    #[test]
    fn any_bytes_at_all_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        check(&bytes);
    }

    #[test]
    fn what_is_written_is_what_prost_would_write(
        names in proptest::collection::vec("[a-z /]{1,150}", 1..4),
        numbers in proptest::collection::vec(any::<u32>(), 4),
        nanos in any::<u64>(),
        is_over_limit in any::<bool>(),
        parts in proptest::collection::vec(".{1,100}", 1..5),
    ) {
        let status = |name| Status {
            is_over_limit,
            limit: Some(StatusLimit {
                name,
                requests: numbers[0],
                period: Period::new(numbers[1] % 3, Unit::Week).ok(),
                remaining: numbers[2],
                reset: Some(nanos),
            }),
            is_unlimited: false,
        };
        let mut statuses: Vec<_> = names.iter().map(|name| status(&**name)).collect();
        statuses.push(Status::WITHOUT_LIMIT);
        let text = HeaderValue::Text((&*names[0]).into());
        let number = HeaderValue::Number(nanos);
        let header = |value: &HeaderValue<'_>| Header { name: "x-name", value: value.clone().into_owned() };
        let reply = Reply {
            is_over_limit,
            statuses: statuses.into(),
            response_headers: [header(&number), header(&text)].into_iter().collect(),
            request_headers: [header(&text)].into_iter().collect(),
            body: Some(Body {
                content_type: "application/json",
                parts: parts.iter().map(|part| part.as_str().into()).collect(),
                retry_after: Some(nanos),
            }),
            metadata: Metadata::default(),
        };
        let frame = wire::encode_framed(&reply);
        let bytes = wire::frame::message(&frame).unwrap();
        let read = RateLimitResponse::decode(bytes).unwrap();
        assert_eq!(read.encode_to_vec(), bytes);
        assert_eq!(read.raw_body, parts.join(&nanos.to_string()).as_bytes());
        let headers: Vec<_> = read
            .response_headers_to_add
            .iter()
            .map(|header| (&*header.key, &*header.value))
            .collect();
        let number = nanos.to_string();
        let expected = [
            ("x-name", &*number),
            ("x-name", &*names[0]),
            ("retry-after", &*number),
            ("content-type", "application/json"),
        ];
        assert_eq!(headers, expected);
        assert_eq!(read.request_headers_to_add[0].value, names[0]);
        assert_eq!(read.statuses.len(), names.len() + 1);
        let last = &read.statuses[names.len() - 1];
        let limit = last.current_limit.as_ref().unwrap();
        assert_eq!((&limit.name, limit.requests_per_unit), (names.last().unwrap(), numbers[0]));
        assert_eq!(last.limit_remaining, numbers[2]);
        let reset = last.duration_until_reset.unwrap();
        assert_eq!((reset.seconds, reset.nanos), (nanos.cast_signed(), 0));
    }
}

#[test]
fn a_field_without_a_number_is_refused_as_prost_refuses_it() {
    for none in [&b"\x00"[..], b"\x00\x18\x01", b"\x07", b"\x80\x00\x01"] {
        check(&[b"\x0a\x01d\x12\x06\x0a\x04\x0a\x02ab", none].concat());
        assert!(wire::decode(none).is_err());
    }
}

#[test]
fn metadata_of_any_length_is_read_by_prost() {
    let long = "bucket ".repeat(40);
    let written = [&*long, "two"].map(|bucket| wire::encode_place(["table", "row", bucket]));
    let named =
        |bucket: &str| Place::Named { table: "table", row: "row", bucket: bucket.to_owned() };
    let told = |metadata| {
        let reply = Reply {
            is_over_limit: true,
            statuses: [].into_iter().collect(),
            response_headers: [].into_iter().collect(),
            request_headers: [].into_iter().collect(),
            body: None,
            metadata,
        };
        let read =
            RateLimitResponse::decode(&wire::encode_framed(&reply)[wire::frame::PREFIX..]).unwrap();
        let json = wire::json::encode(&read).unwrap();
        serde_json::from_str::<serde_json::Value>(&json).unwrap()["dynamicMetadata"].take()
    };
    assert_eq!(told(Metadata::default()), serde_json::Value::Null);
    for (place, bucket) in [
        (Place::Encoded(&written[0]), &*long),
        (Place::Encoded(&written[1]), "two"),
        (named(&long), &*long),
    ] {
        let expected = serde_json::json!({ "table": "table", "row": "row", "bucket": bucket });
        let told = told(Metadata { denied_by: Some(place), ..Metadata::default() });
        assert_eq!(told, expected);
    }
    let all = Metadata {
        lease: Some("00ff".into()),
        released: Some(0),
        denied_by: Some(Place::Encoded(&written[0])),
        shadow: vec![named("one"), named(&long), Place::Encoded(&written[1])],
        of_tree: None,
    };
    let expected = serde_json::json!({
        "lease": "00ff",
        "released": 0.0,
        "table": "table",
        "row": "row",
        "bucket": long,
        "shadow": [
            { "table": "table", "row": "row", "bucket": "one" },
            { "table": "table", "row": "row", "bucket": long },
            { "table": "table", "row": "row", "bucket": "two" },
        ],
    });
    assert_eq!(told(all), expected);
}
