//! Claims of a JSON Web Token (RFC 7519). Nothing is verified: the log has what a request brought, and Envoy decided
//! what it was worth.

use std::fmt;
use std::ops::Range;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Fields;

/// The index of a claim among those of all tokens of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClaimIndex(usize);

impl ClaimIndex {
    pub(super) const fn new(index: usize) -> Self {
        Self(index)
    }
}

/// A token, and the claims that are read from it.
#[derive(Debug)]
pub(super) struct Token {
    fields: Fields,
    claims: Vec<(ClaimIndex, Vec<String>)>,
}

/// Padding should not be there (RFC 7515, section 2), but changes nothing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Token {
    pub(super) const fn new(fields: Fields) -> Self {
        Self { fields, claims: Vec::new() }
    }

    /// The fields that have it.
    pub(super) const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The index of a claim, by the names that lead to it; `next`, if it is new.
    pub(super) fn claim(&mut self, path: Vec<String>, next: ClaimIndex) -> ClaimIndex {
        let known = self.claims.iter().find(|(_, known)| *known == path);
        known.map(|(index, _)| *index).unwrap_or_else(|| {
            self.claims.push((next, path));
            next
        })
    }

    /// Reads the claims of a line.
    pub(super) fn read(
        &self,
        values: &[Option<&[u8]>],
        payload: &mut Vec<u8>,
        claims: &mut Claims,
    ) {
        let Some(encoded) = self.fields.read(values).and_then(encoded_payload) else { return };
        payload.clear();
        if BASE64.decode_vec(encoded, payload).is_err() {
            return;
        }
        for (index, path) in &self.claims {
            claims.add(*index, |text| {
                let mut json = serde_json::Deserializer::from_slice(payload);
                Claim { path, text }.deserialize(&mut json).is_ok_and(|is_there| is_there)
            });
        }
    }
}

/// The payload of `HEADER.PAYLOAD.SIGNATURE`, alone or as the credentials of a `Bearer` (RFC 6750, section 2.1), whose
/// case does not matter.
fn encoded_payload(value: &[u8]) -> Option<&[u8]> {
    let (scheme, credentials) = value.split_at_checked(7).unwrap_or_default();
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ");
    let token = if is_bearer { credentials } else { value }.trim_ascii();
    let mut parts = token.split(|byte| *byte == b'.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some(payload)
}

/// The claims of one line.
#[derive(Debug)]
pub(super) struct Claims {
    text: Vec<u8>,
    places: Vec<Option<Range<usize>>>,
}

impl Claims {
    /// Space for so many claims.
    pub(super) fn new(count: usize) -> Self {
        Self { text: Vec::new(), places: vec![None; count] }
    }

    /// Forgets those of the line before.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.places.fill(None);
    }

    /// Adds a claim, which `write` appends; it returns whether there is one.
    fn add(&mut self, ClaimIndex(at): ClaimIndex, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let begin = self.text.len();
        if write(&mut self.text)
            && let Some(place) = self.places.get_mut(at)
        {
            *place = Some(begin..self.text.len());
        }
    }

    pub(super) fn get(&self, ClaimIndex(at): ClaimIndex) -> Option<&[u8]> {
        self.text.get(self.places.get(at)?.clone()?)
    }
}

/// Walks to a claim, and appends it to a text. Yields whether the claim is there and is a text, a whole number or a
/// boolean, which Envoy can take from a token as well; other values are no claim.
struct Claim<'a> {
    /// The names that lead to it; none for the value itself.
    path: &'a [String],
    text: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Claim<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_any(self)
    }
}

impl Claim<'_> {
    /// A value that is no object, by its text.
    fn scalar(self, value: &[u8]) -> bool {
        if self.path.is_empty() {
            self.text.extend_from_slice(value);
        }
        self.path.is_empty()
    }
}

impl<'de> Visitor<'de> for Claim<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<bool, E> {
        Ok(self.scalar(value.as_bytes()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<bool, E> {
        Ok(self.scalar(itoa::Buffer::new().format(value).as_bytes()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<bool, E> {
        Ok(self.scalar(itoa::Buffer::new().format(value).as_bytes()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        Ok(self.scalar(if value { b"true" } else { b"false" }))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    /// Of several values with one name the last counts, as in most parsers of JSON.
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<bool, A::Error> {
        let Self { path, text } = self;
        let begin = text.len();
        let mut is_there = false;
        while let Some(is_next) = entries.next_key_seed(IsNamed(path.first()))? {
            if is_next {
                text.truncate(begin);
                let path = path.get(1..).unwrap_or_default();
                is_there = entries.next_value_seed(Claim { path, text })?;
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(is_there)
    }
}

/// Whether a name is this one.
struct IsNamed<'a>(Option<&'a String>);

impl<'de> DeserializeSeed<'de> for IsNamed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for IsNamed<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        Ok(self.0.is_some_and(|wanted| wanted == name))
    }
}
