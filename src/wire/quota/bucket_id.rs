//! A bucket id on the wire.

use std::sync::Arc;

use prost::bytes::{Buf, BufMut};
use prost::encoding::{
    DecodeContext, WireType, encode_key, encode_varint, encoded_len_varint, key_len, message,
    skip_field,
};
use prost::{DecodeError, Message};

use crate::descriptor::MAX_ENTRIES;
use crate::shares::BucketId;

/// `envoy.service.rate_limit_quota.v3.BucketId`, in place of what prost generates for it: reports and answers have thousands, and
/// an id that is told is the one that the ledger has. A map on the wire is a list of messages that each have a key and a
/// value, and the last one of a key counts (<https://protobuf.dev/programming-guides/proto3/#maps-features>).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WireBucketId(pub Arc<BucketId>);

/// The number of the map, and of an entry's key and value.
const BUCKET: u32 = 1;
const KEY: u32 = 1;
const VALUE: u32 = 2;

/// An entry that is read.
#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

impl FromIterator<(String, String)> for WireBucketId {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(entries: I) -> Self {
        Self(Arc::new(BucketId::new(entries)))
    }
}

impl Message for WireBucketId {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        for (key, value) in self.0.entries() {
            encode_key(BUCKET, WireType::LengthDelimited, buf);
            encode_varint(length(entry_len(key, value)), buf);
            encode_text(KEY, key, buf);
            encode_text(VALUE, value, buf);
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        if tag != BUCKET {
            return skip_field(wire_type, tag, buf, ctx);
        }
        let mut entry = Entry::default();
        message::merge(wire_type, &mut entry, buf, ctx)?;
        // One more says that there are too many, and no more need be kept.
        if self.0.entries().len() <= MAX_ENTRIES {
            Arc::make_mut(&mut self.0).set(entry.key, entry.value);
        }
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        let of = |(key, value)| {
            let length = entry_len(key, value);
            key_len(BUCKET) + encoded_len_varint(self::length(length)) + length
        };
        self.0.entries().map(of).sum()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// A text that is not empty; one that is is left out, as prost does.
fn encode_text(tag: u32, text: &str, buf: &mut impl BufMut) {
    if !text.is_empty() {
        encode_key(tag, WireType::LengthDelimited, buf);
        encode_varint(length(text.len()), buf);
        buf.put_slice(text.as_bytes());
    }
}

fn entry_len(key: &str, value: &str) -> usize {
    text_len(KEY, key) + text_len(VALUE, value)
}

fn text_len(tag: u32, text: &str) -> usize {
    match text.len() {
        0 => 0,
        all => key_len(tag) + encoded_len_varint(length(all)) + all,
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What prost makes of the proto file.
    #[derive(Clone, PartialEq, Message)]
    struct Generated {
        #[prost(btree_map = "string, string", tag = "1")]
        bucket: BTreeMap<String, String>,
    }

    fn generated(id: &WireBucketId) -> Generated {
        let entries = id.0.entries().map(|(key, value)| (key.to_owned(), value.to_owned()));
        Generated { bucket: entries.collect() }
    }

    #[test]
    fn it_is_written_and_read_as_a_map() {
        let long = "x".repeat(300);
        let entries = [("tenant", &*long), ("group", ""), ("", "acme")];
        let id: WireBucketId =
            entries.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let bytes = id.encode_to_vec();
        assert_eq!(bytes.len(), id.encoded_len());
        assert_eq!(bytes, generated(&id).encode_to_vec());
        assert_eq!(WireBucketId::decode(&*bytes).unwrap(), id);
    }

    #[test]
    fn the_last_value_of_a_key_counts_and_what_is_unknown_is_skipped() {
        // a=1, then field 2, then a=2.
        let bytes = b"\x0a\x06\x0a\x01a\x12\x011\x10\x07\x0a\x06\x0a\x01a\x12\x012";
        let id = WireBucketId::decode(&bytes[..]).unwrap();
        assert_eq!(id.0.entries().collect::<Vec<_>>(), [("a", "2")]);
        assert_eq!(Generated::decode(&bytes[..]).unwrap(), generated(&id));
        assert!(WireBucketId::decode(&bytes[..9]).is_err());
    }

    #[test]
    fn more_entries_than_it_may_have_are_not_kept() {
        let bucket = (0..1_000).map(|key| (key.to_string(), String::new())).collect();
        let id = WireBucketId::decode(&*Generated { bucket }.encode_to_vec()).unwrap();
        assert_eq!(id.0.entries().len(), MAX_ENTRIES + 1);
    }
}
