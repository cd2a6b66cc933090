//! Encodes a [`Reply`] as a RateLimitResponse, straight from the texts that it borrows.

use prost::encoding::{WireType, encode_varint, encoded_len_varint};

use super::frame;
use super::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use super::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit as WireUnit;
use crate::limit::{Period, Unit};
use crate::policy::denial;
use crate::policy::metadata::{Map, Value};
use crate::reply::{Body, Header, HeaderValue, Metadata, Place, Reply, Status};

/// The name of the header with the media type of a body.
const CONTENT_TYPE: &str = "content-type";

/// The whole header of a JSON body, as field 3: nearly every denial has it.
const CONTENT_TYPE_JSON: &[u8] = b"\x1a\x20\x0a\x0ccontent-type\x12\x10application/json";

/// The initial capacity in bytes. Most replies are shorter.
const CAPACITY: usize = 512;

/// Encodes a reply as a message in gRPC's frame.
pub fn encode_framed(reply: &Reply<'_>) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(CAPACITY));
    out.0.extend([0; frame::PREFIX]);
    out.number(1, code(reply.is_over_limit));
    for of_descriptor in &reply.statuses {
        out.message(2, |out| status(out, of_descriptor));
    }
    for of_response in &reply.response_headers {
        header(&mut out, 3, of_response);
    }
    let mut number = itoa::Buffer::new();
    let denial = reply
        .body
        .as_ref()
        .map(|body| (body, body.retry_after.map(|seconds| number.format(seconds))));
    if let Some((Body { content_type, .. }, retry_after)) = denial {
        denial_headers(&mut out, retry_after, content_type);
    }
    for of_request in &reply.request_headers {
        header(&mut out, 4, of_request);
    }
    if let Some((Body { parts, .. }, retry_after)) = denial {
        body(&mut out, parts, retry_after.unwrap_or_default());
    }
    metadata(&mut out, &reply.metadata);
    frame::close(&mut out.0);
    out.0
}

const fn code(is_over_limit: bool) -> u64 {
    let code = if is_over_limit { Code::OverLimit } else { Code::Ok };
    (code as i32).unsigned_abs() as u64
}

fn status(out: &mut Writer, status: &Status<'_>) {
    out.number(1, code(status.is_over_limit));
    let Some(limit) = &status.limit else {
        if status.is_unlimited {
            out.number(3, u32::MAX.into());
        }
        return;
    };
    out.message(2, |out| {
        out.number(1, limit.requests.into());
        out.number(2, limit.period.map_or(0, |period| unit(period.unit())));
        out.text(3, limit.name);
        if let Some(count) = limit.period.map(Period::count).filter(|count| count.get() > 1) {
            out.message(4, |out| out.number(1, count.get().into()));
        }
    });
    out.number(3, limit.remaining.into());
    if let Some(seconds) = limit.reset {
        out.message(4, |out| out.number(1, seconds));
    }
}

const fn unit(unit: Unit) -> u64 {
    let unit = match unit {
        Unit::Second => WireUnit::Second,
        Unit::Minute => WireUnit::Minute,
        Unit::Hour => WireUnit::Hour,
        Unit::Day => WireUnit::Day,
        Unit::Week => WireUnit::Week,
        Unit::Month => WireUnit::Month,
        Unit::Year => WireUnit::Year,
    };
    (unit as i32).unsigned_abs() as u64
}

fn header(out: &mut Writer, tag: u8, header: &Header<'_>) {
    match &header.value {
        HeaderValue::Text(text) => text_header(out, tag, header.name, text),
        HeaderValue::Number(number) => {
            text_header(out, tag, header.name, itoa::Buffer::new().format(*number));
        }
    }
}

fn text_header(out: &mut Writer, tag: u8, name: &str, value: &str) {
    let of_fields = |length: usize| u8::try_from(length).ok().filter(|length| *length < 0x80);
    let total = of_fields(2 + name.len() + 2 + value.len());
    if let (Some(total), Some(of_name), Some(of_value @ 1..)) =
        (total, of_fields(name.len()), of_fields(value.len()))
    {
        // Nearly every header. One byte has each length.
        let (first, second) =
            (key(1, WireType::LengthDelimited), key(2, WireType::LengthDelimited));
        out.0.extend_from_slice(&[key(tag, WireType::LengthDelimited), total, first, of_name]);
        out.0.extend_from_slice(name.as_bytes());
        out.0.extend_from_slice(&[second, of_value]);
        out.0.extend_from_slice(value.as_bytes());
        return;
    }
    out.head(tag, text_length(name) + text_length(value));
    out.text(1, name);
    out.text(2, value);
}

/// Writes the headers of a denial's body.
fn denial_headers(out: &mut Writer, retry_after: Option<&str>, content_type: &str) {
    if let Some(retry_after) = retry_after {
        // A number has 20 digits at most, so that each length is one byte.
        let length = u8::try_from(retry_after.len()).unwrap_or(0);
        let [a, b, c, d, e, f, g, h, i, j, k] = *b"retry-after";
        let (name, value) = (key(1, WireType::LengthDelimited), key(2, WireType::LengthDelimited));
        let header = key(3, WireType::LengthDelimited);
        out.0.extend_from_slice(&[
            header,
            2 + 11 + 2 + length,
            name,
            11,
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            h,
            i,
            j,
            k,
            value,
            length,
        ]);
        out.0.extend_from_slice(retry_after.as_bytes());
    }
    if content_type == denial::JSON {
        out.0.extend_from_slice(CONTENT_TYPE_JSON);
    } else {
        text_header(out, 3, CONTENT_TYPE, content_type);
    }
}

fn body(out: &mut Writer, parts: &[Box<str>], retry_after: &str) {
    let texts: usize = parts.iter().map(|part| part.len()).sum();
    out.head(5, texts + retry_after.len() * parts.len().saturating_sub(1));
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            out.0.extend_from_slice(retry_after.as_bytes());
        }
        out.0.extend_from_slice(part.as_bytes());
    }
}

/// Writes the metadata as a google.protobuf.Struct, unless it is empty.
fn metadata(out: &mut Writer, metadata: &Metadata<'_>) {
    if metadata.is_empty() {
        return;
    }
    match metadata {
        // Nearly every denial.
        Metadata {
            lease: None,
            released: None,
            denied_by: Some(Place::Encoded(place)),
            shadow,
            of_tree: None,
        } if shadow.is_empty() => {
            out.head(6, place.len());
            out.0.extend_from_slice(place);
        }
        _ => out.message(6, |out| fields(out, metadata)),
    }
}

fn fields(out: &mut Writer, metadata: &Metadata<'_>) {
    if let Some(lease) = &metadata.lease {
        field(out, "lease", |out| out.text(3, lease));
    }
    if let Some(released) = metadata.released {
        let count = f64::from(u32::try_from(released).unwrap_or(u32::MAX));
        field(out, "released", |out| out.double(2, count));
    }
    if let Some(denied_by) = &metadata.denied_by {
        write_place(out, denied_by);
    }
    if let Some(of_tree) = &metadata.of_tree {
        write_map(out, of_tree);
    }
    if !metadata.shadow.is_empty() {
        field(out, "shadow", |out| {
            out.message(6, |out| {
                for shadow in &metadata.shadow {
                    out.message(1, |out| out.message(5, |out| write_place(out, shadow)));
                }
            });
        });
    }
}

/// Writes the fields of a google.protobuf.Struct.
fn write_map(out: &mut Writer, Map(fields): &Map) {
    for (name, of_field) in fields {
        field(out, name, |out| write_value(out, of_field));
    }
}

/// Writes a google.protobuf.Value. One of its fields is present, also if it has its default value.
fn write_value(out: &mut Writer, value: &Value) {
    match value {
        Value::Null => out.0.extend_from_slice(&[key(1, WireType::Varint), 0]),
        Value::Number(number) => out.double(2, *number),
        Value::Text(text) => {
            out.head(3, text.len());
            out.0.extend_from_slice(text.as_bytes());
        }
        Value::Bool(is_true) => {
            out.0.extend_from_slice(&[key(4, WireType::Varint), u8::from(*is_true)]);
        }
        Value::Map(map) => out.message(5, |out| write_map(out, map)),
        Value::List(values) => out.message(6, |out| {
            for value in values {
                out.message(1, |out| write_value(out, value));
            }
        }),
    }
}

fn write_place(out: &mut Writer, place: &Place<'_>) {
    match place {
        Place::Encoded(bytes) => out.0.extend_from_slice(bytes),
        Place::Named { table, row, bucket } => name_place(out, [table, row, bucket]),
    }
}

/// Encodes the metadata fields of a bucket's place: its table, its row, and the bucket in words.
pub fn encode_place(names: [&str; 3]) -> Box<[u8]> {
    let mut out = Writer(Vec::new());
    name_place(&mut out, names);
    out.0.into()
}

fn name_place(out: &mut Writer, [table, row, bucket]: [&str; 3]) {
    field(out, "table", |out| out.text(3, table));
    field(out, "row", |out| out.text(3, row));
    field(out, "bucket", |out| out.text(3, bucket));
}

/// Writes one field of a Struct: a name and a google.protobuf.Value.
fn field(out: &mut Writer, name: &str, value: impl FnOnce(&mut Writer)) {
    out.message(1, |out| {
        out.text(1, name);
        out.message(2, value);
    });
}

/// The length of a text as a field, in bytes.
fn text_length(text: &str) -> usize {
    match text.len() {
        0 => 0,
        short @ ..0x80 => 2 + short,
        long => 1 + encoded_len_varint(long.try_into().unwrap_or(u64::MAX)) + long,
    }
}

/// Writes fields. As in protobuf, fields with their default value are omitted.
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, tag: u8, number: u64) {
        if number != 0 {
            self.0.push(key(tag, WireType::Varint));
            self.varint(number);
        }
    }

    fn double(&mut self, tag: u8, number: f64) {
        // Within a oneof, a 0 is not omitted.
        self.0.push(key(tag, WireType::SixtyFourBit));
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, tag: u8, text: &str) {
        if !text.is_empty() {
            self.head(tag, text.len());
            self.0.extend_from_slice(text.as_bytes());
        }
    }

    /// Writes the key and the length of a text or a message.
    fn head(&mut self, tag: u8, length: usize) {
        match u8::try_from(length) {
            Ok(short @ ..0x80) => {
                self.0.extend_from_slice(&[key(tag, WireType::LengthDelimited), short])
            }
            // A varint of two bytes, as long as the body of nearly every denial needs.
            Ok(longer) => {
                self.0.extend_from_slice(&[key(tag, WireType::LengthDelimited), longer, 1])
            }
            _ => {
                self.0.push(key(tag, WireType::LengthDelimited));
                encode_varint(length.try_into().unwrap_or(u64::MAX), &mut self.0);
            }
        }
    }

    /// Writes a nested message. Its length comes first but is known last: one byte is reserved for it, which is
    /// enough for all messages but the metadata.
    fn message(&mut self, tag: u8, write: impl FnOnce(&mut Self)) {
        self.head(tag, 0);
        let place = self.0.len() - 1;
        write(self);
        let length = self.0.len() - place - 1;
        match (u8::try_from(length), self.0.get_mut(place)) {
            (Ok(short @ ..0x80), Some(kept)) => *kept = short,
            _ => self.lengthen(place, length),
        }
    }

    /// Writes the length of a message that needs more than the one byte reserved.
    fn lengthen(&mut self, place: usize, length: usize) {
        let mut prefix = [0; 10];
        let mut rest = &mut prefix[..];
        encode_varint(length.try_into().unwrap_or(u64::MAX), &mut rest);
        let unused = rest.len();
        let prefix = prefix.get(..10 - unused).unwrap_or_default();
        self.0.splice(place..=place, prefix.iter().copied());
    }

    fn varint(&mut self, number: u64) {
        match u8::try_from(number) {
            Ok(short @ ..0x80) => self.0.push(short),
            _ => encode_varint(number, &mut self.0),
        }
    }
}

/// The key of a field: its number, below 16, and its type, in one byte.
const fn key(tag: u8, wire_type: WireType) -> u8 {
    tag << 3 | wire_type as u8
}
