//! Decodes a RateLimitRequest into a [`Query`] that borrows from its bytes: nothing is copied.
//!
//! It decodes exactly as prost does: fields may be in any order, the last of several numbers counts, several parts of a
//! message are merged, unknown fields are skipped. `tests/suites/codec.rs` compares the two.

use smallvec::SmallVec;

use super::fields::{FieldReader, Malformed, name};
use super::pb::envoy::r#type::v3::RateLimitUnit;
use crate::descriptor::{BadRequest, BroughtLimit, Hits, Name, Query};
use crate::limit::Unit;

/// Decodes a query and returns it by value, which costs one more copy than [`decode_into`].
///
/// # Errors
/// As [`decode_into`].
pub fn decode(message: &[u8]) -> Result<Query<'_>, BadRequest> {
    let mut query = Query::default();
    decode_into(message, &mut query)?;
    Ok(query)
}

/// Decodes a message into `query`.
///
/// # Errors
/// [`BadRequest`] if it is not a valid message or not a valid query; see [`Query`].
pub fn decode_into<'a>(message: &'a [u8], query: &mut Query<'a>) -> Result<(), BadRequest> {
    let request = Request::read(message).map_err(malformed)?;
    query.begin(request.domain, request.descriptors.len())?;
    for (at, bytes) in request.descriptors.iter().enumerate() {
        let fields = DescriptorFields::read(bytes, query).map_err(malformed)?;
        let limit = fields.limit.as_ref().map(|limit| limit.brought(at)).transpose()?;
        query.close(fields.hits(request.hits_addend), limit)?;
    }
    Ok(())
}

pub(super) fn malformed(error: Malformed) -> BadRequest {
    BadRequest::Malformed(error.to_string())
}

#[derive(Default)]
pub(super) struct Request<'a> {
    pub(super) domain: Name<'a>,
    pub(super) descriptors: SmallVec<[&'a [u8]; 4]>,
    pub(super) hits_addend: u32,
}

impl<'a> Request<'a> {
    #[inline(always)]
    pub(super) fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut request = Self::default();
        let mut fields = FieldReader(message);
        if let Some(bytes) = fields.short(1) {
            request.domain = name(bytes)?;
        }
        loop {
            while let Some(bytes) = fields.short(2) {
                request.descriptors.push(bytes);
            }
            let Some(field) = fields.next() else { return Ok(request) };
            match field? {
                (1, value) => request.domain = value.name()?,
                (2, value) => request.descriptors.push(value.bytes()?),
                (3, value) => request.hits_addend = value.number32()?,
                _ => {}
            }
        }
    }
}

/// The fields of a descriptor besides its entries.
#[derive(Default)]
pub(super) struct DescriptorFields {
    pub(super) limit: Option<Limit>,
    pub(super) hits_addend: Option<u64>,
    is_negative_hits: bool,
}

impl DescriptorFields {
    /// Reads a descriptor; adds its entries to the query.
    #[inline(always)]
    pub(super) fn read<'a>(message: &'a [u8], query: &mut Query<'a>) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        let mut reader = FieldReader(message);
        loop {
            while let Some(bytes) = reader.short(1) {
                entry(bytes, query)?;
            }
            let Some(field) = reader.next() else { return Ok(fields) };
            match field? {
                (1, value) => any_entry(value.bytes()?, query)?,
                (2, value) => fields.limit.get_or_insert_default().merge(value.bytes()?)?,
                (3, value) => {
                    let count = fields.hits_addend.get_or_insert_default();
                    *count = wrapped(value.bytes()?)?.unwrap_or(*count);
                }
                (4, value) => fields.is_negative_hits = value.number()? != 0,
                _ => {}
            }
        }
    }

    /// The descriptor's own count, where 0 means to read the state; without one, the request's, where 0 means 1.
    fn hits(&self, of_request: u32) -> Hits {
        let count = self.hits_addend.unwrap_or_else(|| u64::from(of_request.max(1)));
        if self.is_negative_hits { Hits::give_back(count) } else { Hits::charge(count) }
    }
}

#[inline(always)]
fn entry<'a>(message: &'a [u8], query: &mut Query<'a>) -> Result<(), Malformed> {
    let mut fields = FieldReader(message);
    // Nearly every entry has just these.
    let key = fields.short(1);
    let value = fields.short(2);
    if fields.0.is_empty() {
        query.entry(name(key.unwrap_or_default())?, value.unwrap_or_default());
        return Ok(());
    }
    any_entry(message, query)
}

/// An entry with fields of any kind and in any order.
#[cold]
fn any_entry<'a>(message: &'a [u8], query: &mut Query<'a>) -> Result<(), Malformed> {
    let (mut key, mut bytes) = (Name::from(""), &[][..]);
    for field in FieldReader(message) {
        match field? {
            (1, value) => key = value.name()?,
            // A `string` in the proto, but Envoy fills it with any bytes that the client sent.
            (2, value) => bytes = value.bytes()?,
            _ => {}
        }
    }
    query.entry(key, bytes);
    Ok(())
}

/// The key of the only field of a wrapper: number 1, a varint.
const NUMBER: u8 = 1 << 3;

/// The value of a wrapper such as UInt64Value; `None` if it is left out.
fn wrapped(message: &[u8]) -> Result<Option<u64>, Malformed> {
    let mut number = None;
    if let [NUMBER, short @ ..0x80] = message {
        return Ok(Some(u64::from(*short)));
    }
    for field in FieldReader(message) {
        if let (1, value) = field? {
            number = Some(value.number()?);
        }
    }
    Ok(number)
}

/// The number of a week, which requests have not, but responses, and which envoyproxy/ratelimit takes.
const WEEK: u32 = 7;

/// A limit override.
#[derive(Default)]
pub(super) struct Limit {
    pub(super) requests_per_unit: u32,
    pub(super) unit: u32,
    pub(super) unit_multiplier: Option<u64>,
}

impl Limit {
    fn merge(&mut self, message: &[u8]) -> Result<(), Malformed> {
        for field in FieldReader(message) {
            match field? {
                (1, value) => self.requests_per_unit = value.number32()?,
                (2, value) => self.unit = value.number32()?,
                (3, value) => {
                    let count = self.unit_multiplier.get_or_insert_default();
                    *count = wrapped(value.bytes()?)?.unwrap_or(*count);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Any numbers make a bucket: Envoy may have taken them from metadata that a client can influence, and would
    /// let the request pass if they were rejected.
    fn brought(&self, descriptor: usize) -> Result<BroughtLimit, BadRequest> {
        let unit =
            i32::try_from(self.unit).ok().and_then(|unit| RateLimitUnit::try_from(unit).ok());
        let unit = match unit.unwrap_or(RateLimitUnit::Unknown) {
            RateLimitUnit::Second => Unit::Second,
            RateLimitUnit::Minute => Unit::Minute,
            RateLimitUnit::Hour => Unit::Hour,
            RateLimitUnit::Day => Unit::Day,
            RateLimitUnit::Month => Unit::Month,
            RateLimitUnit::Year => Unit::Year,
            RateLimitUnit::Unknown if self.unit == WEEK => Unit::Week,
            RateLimitUnit::Unknown => {
                let reason =
                    "unit must be one of SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, YEAR".to_owned();
                return Err(BadRequest::Limit { descriptor, reason });
            }
        };
        let [a, b, c, d, ..] = self.unit_multiplier.unwrap_or(1).to_le_bytes();
        Ok(BroughtLimit::new(self.requests_per_unit, u32::from_le_bytes([a, b, c, d]), unit))
    }
}
