//! From the bytes of a RateLimitRequest to a [`Query`] that borrows from them: nothing is copied.
//!
//! Reads what prost reads, to the letter of the encoding: fields in any order, of a number the last, of a
//! message all its parts merged, unknown fields passed over. A test holds the two against each other.

use smallvec::SmallVec;

use super::fields::{Fields, Malformed};
use super::pb::envoy::r#type::v3::RateLimitUnit;
use crate::descriptor::{BadRequest, Hits, Query};
use crate::limit::{Bucket, Unit};

/// The question in a message, by value: as [`read`], and one copy more.
///
/// # Errors
/// As [`read`].
pub fn query(message: &[u8]) -> Result<Query<'_>, BadRequest> {
    let mut query = Query::default();
    read(message, &mut query)?;
    Ok(query)
}

/// Reads the question in a message into its place.
///
/// # Errors
/// [`BadRequest`] where it is no message or no question; see [`Query`].
pub fn read<'a>(message: &'a [u8], query: &mut Query<'a>) -> Result<(), BadRequest> {
    let request = Request::read(message).map_err(malformed)?;
    query.begin(request.domain, request.descriptors.len())?;
    for (at, bytes) in request.descriptors.iter().enumerate() {
        let beside = Beside::read(bytes, query).map_err(malformed)?;
        let limit = beside.limit.as_ref().map(|limit| limit.bucket(at)).transpose()?;
        query.close(beside.hits(request.hits_addend), limit)?;
    }
    Ok(())
}

fn malformed(error: Malformed) -> BadRequest {
    BadRequest::Malformed(error.to_string())
}

#[derive(Default)]
struct Request<'a> {
    domain: &'a str,
    descriptors: SmallVec<[&'a [u8]; 4]>,
    hits_addend: u32,
}

impl<'a> Request<'a> {
    fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut request = Self::default();
        for field in Fields(message) {
            match field? {
                (1, wire) => request.domain = wire.text()?,
                (2, wire) => request.descriptors.push(wire.bytes()?),
                (3, wire) => request.hits_addend = wire.number32()?,
                _ => {}
            }
        }
        Ok(request)
    }
}

/// What a descriptor says beside its entries.
#[derive(Default)]
struct Beside {
    limit: Option<Limit>,
    hits_addend: Option<u64>,
    is_negative_hits: bool,
}

impl Beside {
    /// The entries go straight into the query.
    fn read<'a>(message: &'a [u8], query: &mut Query<'a>) -> Result<Self, Malformed> {
        let mut beside = Self::default();
        for field in Fields(message) {
            match field? {
                (1, wire) => entry(wire.bytes()?, query)?,
                (2, wire) => beside.limit.get_or_insert_default().merge(wire.bytes()?)?,
                (3, wire) => {
                    let count = beside.hits_addend.get_or_insert_default();
                    *count = wrapped(wire.bytes()?)?.unwrap_or(*count);
                }
                (4, wire) => beside.is_negative_hits = wire.number()? != 0,
                _ => {}
            }
        }
        Ok(beside)
    }

    /// A descriptor's own count if there is one, where 0 means to look; else the request's, where 0
    /// means 1.
    fn hits(&self, of_request: u32) -> Hits {
        let count = self.hits_addend.unwrap_or_else(|| u64::from(of_request.max(1)));
        if self.is_negative_hits { Hits::give_back(count) } else { Hits::charge(count) }
    }
}

fn entry<'a>(message: &'a [u8], query: &mut Query<'a>) -> Result<(), Malformed> {
    let (mut key, mut value) = ("", &[][..]);
    for field in Fields(message) {
        match field? {
            (1, wire) => key = wire.text()?,
            // The proto says `string`, and Envoy fills it with whatever bytes its client sent.
            (2, wire) => value = wire.bytes()?,
            _ => {}
        }
    }
    query.entry(key, value);
    Ok(())
}

/// What a wrapper such as UInt64Value holds, where that is not left out.
fn wrapped(message: &[u8]) -> Result<Option<u64>, Malformed> {
    let mut number = None;
    for field in Fields(message) {
        if let (1, wire) = field? {
            number = Some(wire.number()?);
        }
    }
    Ok(number)
}

/// A limit that Envoy brings along.
#[derive(Default)]
struct Limit {
    requests_per_unit: u32,
    unit: u32,
    unit_multiplier: Option<u64>,
}

impl Limit {
    fn merge(&mut self, message: &[u8]) -> Result<(), Malformed> {
        for field in Fields(message) {
            match field? {
                (1, wire) => self.requests_per_unit = wire.number32()?,
                (2, wire) => self.unit = wire.number32()?,
                (3, wire) => {
                    let count = self.unit_multiplier.get_or_insert_default();
                    *count = wrapped(wire.bytes()?)?.unwrap_or(*count);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whatever the numbers are, they make a bucket: Envoy may have taken them from metadata in which a client
    /// has a say, and would let the request pass if they were refused.
    fn bucket(&self, descriptor: usize) -> Result<Bucket, BadRequest> {
        let unit =
            i32::try_from(self.unit).ok().and_then(|unit| RateLimitUnit::try_from(unit).ok());
        let unit = match unit.unwrap_or(RateLimitUnit::Unknown) {
            RateLimitUnit::Second => Unit::Second,
            RateLimitUnit::Minute => Unit::Minute,
            RateLimitUnit::Hour => Unit::Hour,
            RateLimitUnit::Day => Unit::Day,
            RateLimitUnit::Month => Unit::Month,
            RateLimitUnit::Year => Unit::Year,
            RateLimitUnit::Unknown => {
                let reason =
                    "unit must be one of SECOND, MINUTE, HOUR, DAY, MONTH, YEAR".to_owned();
                return Err(BadRequest::Limit { descriptor, reason });
            }
        };
        let [a, b, c, d, ..] = self.unit_multiplier.unwrap_or(1).to_le_bytes();
        Ok(Bucket::nearest(self.requests_per_unit, u32::from_le_bytes([a, b, c, d]), unit))
    }
}
