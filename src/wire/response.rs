//! From a [`Reply`] to the bytes of a RateLimitResponse, written straight from what it borrows.

use prost::encoding::{WireType, encode_varint};

use super::frame;
use super::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use super::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit as WireUnit;
use crate::clock::Nanos;
use crate::limit::{Period, Unit};
use crate::reply::{Body, Header, HeaderValue, Metadata, Place, Reply, Status};

/// Most replies are shorter; longer ones grow.
const USUAL_LENGTH: usize = 512;

/// The message of a reply, in gRPC's frame.
pub fn framed(reply: &Reply<'_>) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(USUAL_LENGTH));
    out.0.extend([0; frame::PREFIX]);
    out.number(1, code(reply.is_over_limit));
    for of_descriptor in &reply.statuses {
        out.message(2, |out| status(out, of_descriptor));
    }
    for of_response in &reply.response_headers {
        out.message(3, |out| header(out, of_response));
    }
    for of_request in &reply.request_headers {
        out.message(4, |out| header(out, of_request));
    }
    if let Some(of_denial) = &reply.body {
        body(&mut out, of_denial);
    }
    if !reply.metadata.is_empty() {
        out.message(6, |out| metadata(out, &reply.metadata));
    }
    frame::close(&mut out.0);
    out.0
}

const fn code(is_over_limit: bool) -> u64 {
    let code = if is_over_limit { Code::OverLimit } else { Code::Ok };
    (code as i32).unsigned_abs() as u64
}

fn status(out: &mut Writer, status: &Status<'_>) {
    out.number(1, code(status.is_over_limit));
    let Some(limit) = &status.limit else { return };
    out.message(2, |out| {
        out.number(1, limit.requests.into());
        out.number(2, limit.period.map_or(0, |period| unit(period.unit())));
        out.text(3, limit.name);
        if let Some(count) = limit.period.map(Period::count).filter(|count| count.get() > 1) {
            out.message(4, |out| out.number(1, count.get().into()));
        }
    });
    out.number(3, limit.remaining.into());
    out.message(4, |out| duration(out, limit.reset));
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

fn duration(out: &mut Writer, span: Nanos) {
    out.number(1, span.get() / 1_000_000_000);
    out.number(2, span.get() % 1_000_000_000);
}

fn header(out: &mut Writer, header: &Header<'_>) {
    out.text(1, header.name);
    match &header.value {
        HeaderValue::Text(text) => out.text(2, text),
        HeaderValue::Number(number) => out.text(2, itoa::Buffer::new().format(*number)),
    }
}

fn body(out: &mut Writer, Body { parts, between }: &Body<'_>) {
    let mut number = itoa::Buffer::new();
    let number = number.format(*between);
    let texts: usize = parts.iter().map(|part| part.len()).sum();
    out.key(5, WireType::LengthDelimited);
    out.length(texts + number.len() * parts.len().saturating_sub(1));
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            out.0.extend_from_slice(number.as_bytes());
        }
        out.0.extend_from_slice(part.as_bytes());
    }
}

/// A google.protobuf.Struct.
fn metadata(out: &mut Writer, metadata: &Metadata<'_>) {
    if let Some(lease) = &metadata.lease {
        field(out, "lease", |out| out.text(3, lease));
    }
    if let Some(released) = metadata.released {
        let count = f64::from(u32::try_from(released).unwrap_or(u32::MAX));
        field(out, "released", |out| out.double(2, count));
    }
    if let Some(denied_by) = &metadata.denied_by {
        place(out, denied_by);
    }
    if !metadata.shadow.is_empty() {
        field(out, "shadow", |out| {
            out.message(6, |out| {
                for shadow in &metadata.shadow {
                    out.message(1, |out| out.message(5, |out| place(out, shadow)));
                }
            });
        });
    }
}

fn place(out: &mut Writer, at: &Place<'_>) {
    field(out, "table", |out| out.text(3, at.table));
    field(out, "row", |out| out.text(3, at.row));
    field(out, "bucket", |out| out.text(3, &at.bucket));
}

/// One field of a Struct: a name and a google.protobuf.Value.
fn field(out: &mut Writer, name: &str, value: impl FnOnce(&mut Writer)) {
    out.message(1, |out| {
        out.text(1, name);
        out.message(2, value);
    });
}

/// Writes fields. As protobuf has it, those at their default are left out.
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, tag: u8, number: u64) {
        if number != 0 {
            self.key(tag, WireType::Varint);
            self.varint(number);
        }
    }

    fn double(&mut self, tag: u8, number: f64) {
        // Within a oneof, a 0 is written too.
        self.key(tag, WireType::SixtyFourBit);
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, tag: u8, text: &str) {
        if !text.is_empty() {
            self.key(tag, WireType::LengthDelimited);
            self.length(text.len());
            self.0.extend_from_slice(text.as_bytes());
        }
    }

    /// A message within the message. Its length stands before it and is known after it: one byte is kept
    /// for it, which is enough for all but the metadata.
    fn message(&mut self, tag: u8, write: impl FnOnce(&mut Self)) {
        self.key(tag, WireType::LengthDelimited);
        let place = self.0.len();
        self.0.push(0);
        write(self);
        let length = self.0.len() - place - 1;
        match (u8::try_from(length), self.0.get_mut(place)) {
            (Ok(short @ ..0x80), Some(kept)) => *kept = short,
            _ => self.lengthen(place, length),
        }
    }

    /// Makes room for the length of a message where one byte does not do, and writes it.
    fn lengthen(&mut self, place: usize, length: usize) {
        let mut prefix = [0; 10];
        let mut rest = &mut prefix[..];
        encode_varint(length.try_into().unwrap_or(u64::MAX), &mut rest);
        let unused = rest.len();
        let prefix = prefix.get(..10 - unused).unwrap_or_default();
        self.0.splice(place..=place, prefix.iter().copied());
    }

    /// The number and type of a field; below 16, that is one byte.
    fn key(&mut self, tag: u8, wire_type: WireType) {
        self.0.push(tag << 3 | wire_type as u8);
    }

    fn length(&mut self, length: usize) {
        self.varint(length.try_into().unwrap_or(u64::MAX));
    }

    fn varint(&mut self, number: u64) {
        match u8::try_from(number) {
            Ok(short @ ..0x80) => self.0.push(short),
            _ => encode_varint(number, &mut self.0),
        }
    }
}
